import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Serves Apache Kafka's own Java clients to the tests: one JSON command per line of standard input, one JSON answer per
 * line of standard output, until standard input ends.
 *
 * <p>A command names itself in {@code command} and the cluster in {@code bootstrap}; its other fields are described
 * where it is carried out. The answer is {@code {"ok": …}} or {@code {"error": "Class: message"}}. Nothing is kept from
 * one command to the next.
 */
public final class KafkaTool {
    static final ObjectMapper JSON = new ObjectMapper();

    private KafkaTool() {
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        BlockingQueue<String> commands = new LinkedBlockingQueue<>();
        Thread reader = new Thread(() -> read(commands), "commands");
        reader.setDaemon(true);
        reader.start();
        while (true) {
            answers.println(JSON.writeValueAsString(answer(commands.take())));
            answers.flush();
        }
    }

    /** Halts the process where the commands end, even in the middle of one. */
    private static void read(BlockingQueue<String> commands) {
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().forEach(commands::add);
        Runtime.getRuntime().halt(0);
    }

    private static ObjectNode answer(String line) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            JsonNode command = JSON.readTree(line);
            answer.set("ok", carryOut(command));
        } catch (Exception e) {
            Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
            answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
        return answer;
    }

    private static JsonNode carryOut(JsonNode command) throws Exception {
        String name = command.required("command").asText();
        return switch (name) {
            case "produce" -> Produce.given(command);
            case "generate" -> Produce.generated(command);
            case "read" -> Read.records(command);
            case "consume" -> Consume.records(command);
            case "digest" -> Read.digests(command);
            case "schemas" -> Definitions.schemas();
            case "errors" -> Definitions.errors();
            case "tool" -> CommandLine.run(command);
            case "commit", "committed", "mirror" -> Groups.carryOut(name, command);
            case "topics", "create", "partitions", "config", "alter", "describe", "truncate", "deny", "undeny", "delete" ->
                Administer.carryOut(name, command);
            default -> throw new IllegalArgumentException("no such command: " + name);
        };
    }
}
