import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.security.DigestOutputStream;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads a whole topic with the Java consumer: every partition, from its first offset to the end it has when the
 * command comes.
 *
 * <p>Fields: {@code topic}; {@code isolation}, "read_committed" or "read_uncommitted".
 */
final class Read {
    /** Longer keys and values are answered as their length and SHA-256, to keep the answer's line short. */
    private static final int BYTES_ANSWERED_MAX = 1024;
    /** How long nothing may arrive before the command fails. */
    private static final long SILENCE_MAX_NANOS = Duration.ofSeconds(60).toNanos();

    private Read() {
    }

    /** Answers every record, ordered by partition and offset. */
    static JsonNode records(JsonNode command) throws Exception {
        Map<Integer, List<ObjectNode>> partitions = new TreeMap<>();
        each(command, record ->
            partitions.computeIfAbsent(record.partition(), p -> new ArrayList<>()).add(describe(record)));
        ArrayNode answer = KafkaTool.JSON.createArrayNode();
        partitions.values().forEach(answer::addAll);
        return answer;
    }

    /**
     * Answers for every partition that has records their count and the SHA-256 of their contents without offsets.
     *
     * <p>Hashed, in Java's big-endian integers: timestamp (8 bytes), timestamp type (4), key, value, number of headers
     * (4), and for each header its key and value; a run of bytes as its length (4) and itself, null as length -1.
     */
    static JsonNode digests(JsonNode command) throws Exception {
        Map<Integer, Digest> partitions = new TreeMap<>();
        each(command, record ->
            partitions.computeIfAbsent(record.partition(), p -> new Digest()).add(record));
        ArrayNode answer = KafkaTool.JSON.createArrayNode();
        partitions.forEach((partition, digest) -> answer.addObject()
            .put("partition", partition)
            .put("count", digest.count)
            .put("sha256", HexFormat.of().formatHex(digest.sha256.digest())));
        return answer;
    }

    private interface Visitor {
        void visit(ConsumerRecord<byte[], byte[]> record) throws IOException;
    }

    private static void each(JsonNode command, Visitor visitor) throws IOException {
        String topic = command.required("topic").asText();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties(command))) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (PartitionInfo info : consumer.partitionsFor(topic)) {
                partitions.add(new TopicPartition(topic, info.partition()));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long heardAt = System.nanoTime();
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofMillis(100));
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    if (record.offset() < ends.get(new TopicPartition(topic, record.partition()))) {
                        visitor.visit(record);
                    }
                }
                if (!polled.isEmpty()) {
                    heardAt = System.nanoTime();
                } else if (System.nanoTime() - heardAt > SILENCE_MAX_NANOS) {
                    throw new IllegalStateException("nothing more arrives, and the end of " + topic + " is not reached");
                }
            }
        }
    }

    private static Properties properties(JsonNode command) {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, command.required("bootstrap").asText());
        properties.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, command.required("isolation").asText());
        properties.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        properties.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        properties.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, false);
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none");
        return properties;
    }

    private static ObjectNode describe(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode node = KafkaTool.JSON.createObjectNode()
            .put("partition", record.partition())
            .put("offset", record.offset())
            .put("timestamp", record.timestamp())
            .put("timestamp_type", record.timestampType().toString());
        node.set("key", blob(record.key()));
        node.set("value", blob(record.value()));
        ArrayNode headers = node.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(blob(header.value()));
        }
        return node;
    }

    /** Null, hex, or for long runs of bytes their length and SHA-256. */
    private static JsonNode blob(byte[] bytes) {
        if (bytes == null) {
            return KafkaTool.JSON.nullNode();
        }
        if (bytes.length <= BYTES_ANSWERED_MAX) {
            return KafkaTool.JSON.getNodeFactory().textNode(HexFormat.of().formatHex(bytes));
        }
        return KafkaTool.JSON.createObjectNode()
            .put("length", bytes.length)
            .put("sha256", HexFormat.of().formatHex(sha256().digest(bytes)));
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** The running digest of one partition. */
    private static final class Digest {
        private final MessageDigest sha256 = sha256();
        private final DataOutputStream out =
            new DataOutputStream(new DigestOutputStream(OutputStream.nullOutputStream(), sha256));
        private long count;

        void add(ConsumerRecord<byte[], byte[]> record) throws IOException {
            count++;
            out.writeLong(record.timestamp());
            out.writeInt(record.timestampType().id);
            run(record.key());
            run(record.value());
            Header[] headers = record.headers().toArray();
            out.writeInt(headers.length);
            for (Header header : headers) {
                run(header.key().getBytes(StandardCharsets.UTF_8));
                run(header.value());
            }
        }

        private void run(byte[] bytes) throws IOException {
            out.writeInt(bytes == null ? -1 : bytes.length);
            if (bytes != null) {
                out.write(bytes);
            }
        }
    }
}
