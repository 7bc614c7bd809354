import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import org.apache.kafka.common.utils.Exit;

/** Runs a command line tool of Kafka's in this process, as its script in {@code bin} does in one of its own. */
final class CommandLine {
    private CommandLine() {
    }

    /** What leaves a tool that asks to end the process. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;
    }

    /**
     * Runs {@code main} of {@code class} with {@code arguments} and {@code input}.
     *
     * <p>Answers the {@code status} it would have ended with and what it printed, {@code out} and {@code err}.
     */
    static JsonNode run(JsonNode command) throws Exception {
        String[] arguments = StreamSupport.stream(command.required("arguments").spliterator(), false)
            .map(JsonNode::asText)
            .toArray(String[]::new);
        byte[] input = command.required("input").asText().getBytes(StandardCharsets.UTF_8);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        List<Integer> statuses = new ArrayList<>();
        List<Runnable> hooks = new ArrayList<>();
        Exit.setExitProcedure((status, message) -> {
            statuses.add(status);
            throw new Ended();
        });
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        InputStream stdin = System.in;
        PrintStream stdout = System.out;
        PrintStream stderr = System.err;
        System.setIn(new ByteArrayInputStream(input));
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        try {
            callMain(command.required("class").asText(), arguments);
            hooks.forEach(Runnable::run);
        } finally {
            System.setIn(stdin);
            System.setOut(stdout);
            System.setErr(stderr);
            Exit.resetExitProcedure();
            Exit.resetShutdownHookAdder();
        }
        return KafkaTool.JSON.createObjectNode()
            // A tool may catch the first end as an error and end once more.
            .put("status", statuses.isEmpty() ? 0 : statuses.get(0))
            .put("out", out.toString(StandardCharsets.UTF_8))
            .put("err", err.toString(StandardCharsets.UTF_8));
    }

    private static void callMain(String name, String[] arguments) throws Exception {
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                throw e;
            }
        }
    }
}
