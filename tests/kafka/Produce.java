import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Appends records with the Java producer and waits until all of them are acknowledged.
 *
 * <p>Common fields: {@code topic}; {@code config}, producer properties; {@code transaction}, "commit" or "abort", which
 * needs {@code transactional.id} among the properties.
 */
final class Produce {
    private Produce() {
    }

    /**
     * Appends {@code records}, each with {@code partition}, {@code timestamp} (absent: now), {@code key} and
     * {@code value} (hex or null), and {@code headers}, a list of [key, hex or null]. Answers their offsets, in order.
     */
    static JsonNode given(JsonNode command) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        String topic = command.required("topic").asText();
        for (JsonNode record : command.required("records")) {
            records.add(record(topic, record));
        }
        ArrayNode offsets = KafkaTool.JSON.createArrayNode();
        for (RecordMetadata metadata : append(command, records)) {
            offsets.add(metadata.offset());
        }
        return offsets;
    }

    /** Appends the records {@link Load} makes of {@code load}. Answers how many. */
    static JsonNode generated(JsonNode command) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records =
            new Load(command.required("topic").asText(), command.required("load")).records();
        return KafkaTool.JSON.getNodeFactory().numberNode(append(command, records).size());
    }

    private static List<RecordMetadata> append(JsonNode command, List<ProducerRecord<byte[], byte[]>> records)
            throws Exception {
        String transaction = command.path("transaction").asText("");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties(command))) {
            if (!transaction.isEmpty()) {
                producer.initTransactions();
                producer.beginTransaction();
            }
            List<Future<RecordMetadata>> sent = new ArrayList<>(records.size());
            for (ProducerRecord<byte[], byte[]> record : records) {
                sent.add(producer.send(record));
            }
            producer.flush();
            List<RecordMetadata> acknowledged = new ArrayList<>(sent.size());
            for (Future<RecordMetadata> future : sent) {
                acknowledged.add(future.get());
            }
            switch (transaction) {
                case "" -> { }
                case "commit" -> producer.commitTransaction();
                case "abort" -> producer.abortTransaction();
                default -> throw new IllegalArgumentException("no such end of a transaction: " + transaction);
            }
            return acknowledged;
        }
    }

    private static Properties properties(JsonNode command) {
        Properties properties = new Properties();
        properties.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, command.required("bootstrap").asText());
        properties.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
        properties.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
        properties.put(ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, 60_000);
        // A broker shows a new topic before it takes records for it, and takes any sequence from a producer it does not
        // know: a second batch could be stored while the first is refused, and then the first never again.
        properties.put(ProducerConfig.MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION, 1);
        command.path("config").properties()
            .forEach(property -> properties.put(property.getKey(), property.getValue().asText()));
        return properties;
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode record) {
        List<Header> headers = new ArrayList<>();
        for (JsonNode header : record.path("headers")) {
            headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
        }
        JsonNode timestamp = record.path("timestamp");
        return new ProducerRecord<>(
            topic,
            record.required("partition").asInt(),
            timestamp.isNumber() ? timestamp.asLong() : null,
            bytes(record.path("key")),
            bytes(record.path("value")),
            headers);
    }

    private static byte[] bytes(JsonNode hex) {
        return hex.isTextual() ? HexFormat.of().parseHex(hex.asText()) : null;
    }
}
