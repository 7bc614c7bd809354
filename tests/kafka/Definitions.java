import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.apache.kafka.common.errors.InvalidMetadataException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

/** What Kafka's own jar says the protocol is. */
final class Definitions {
    private static final String SCHEMA_DIR = "common/message/";

    private Definitions() {
    }

    /** Answers every message schema, name to JSON without comments. */
    static JsonNode schemas() throws IOException, URISyntaxException {
        Path jar = Path.of(Errors.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        ObjectReader commented = KafkaTool.JSON.reader().with(JsonParser.Feature.ALLOW_COMMENTS);
        ObjectNode answer = KafkaTool.JSON.createObjectNode();
        try (ZipFile zip = new ZipFile(jar.toFile())) {
            for (ZipEntry entry : zip.stream().toList()) {
                if (entry.getName().startsWith(SCHEMA_DIR) && entry.getName().endsWith(".json")) {
                    JsonNode schema = commented.readTree(zip.getInputStream(entry));
                    answer.set(schema.required("name").asText(), schema);
                }
            }
        }
        return answer;
    }

    /** Answers every error code, with what its exception says about trying again. */
    static JsonNode errors() {
        ArrayNode answer = KafkaTool.JSON.createArrayNode();
        for (Errors error : Errors.values()) {
            answer.addObject()
                .put("code", error.code())
                .put("name", error.name())
                .put("retriable", error.exception() instanceof RetriableException)
                .put("invalid_metadata", error.exception() instanceof InvalidMetadataException);
        }
        return answer;
    }
}
