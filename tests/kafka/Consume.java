import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * An application: a member of a group that subscribes to topics by a pattern, goes on where the group was, commits and
 * leaves.
 *
 * <p>Fields: {@code group}; {@code pattern}, a regular expression; {@code limit}, after how many records it leaves, -1
 * for all that there are.
 */
final class Consume {
    /** How long nothing may arrive before the command fails. */
    private static final long SILENCE_MAX_NANOS = Duration.ofSeconds(60).toNanos();

    private Consume() {
    }

    /** Answers topic and value of each record, in the order in which they came. */
    static JsonNode records(JsonNode command) {
        int limit = command.required("limit").asInt();
        ArrayNode answer = KafkaTool.JSON.createArrayNode();
        Map<TopicPartition, OffsetAndMetadata> reached = new HashMap<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties(command))) {
            consumer.subscribe(Pattern.compile(command.required("pattern").asText()));
            long heardAt = System.nanoTime();
            while (answer.size() != limit && !isAtEnd(consumer)) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    if (answer.size() == limit) {
                        break;
                    }
                    answer.addObject().put("topic", record.topic()).put("value", record.value());
                    reached.put(new TopicPartition(record.topic(), record.partition()),
                        new OffsetAndMetadata(record.offset() + 1));
                    heardAt = System.nanoTime();
                }
                if (System.nanoTime() - heardAt > SILENCE_MAX_NANOS) {
                    throw new IllegalStateException("nothing more arrives, and the end is not reached");
                }
            }
            consumer.commitSync(reached);
        }
        return answer;
    }

    private static boolean isAtEnd(KafkaConsumer<String, String> consumer) {
        Set<TopicPartition> assigned = consumer.assignment();
        Map<TopicPartition, Long> ends = consumer.endOffsets(assigned);
        return !assigned.isEmpty()
            && assigned.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
    }

    private static Properties properties(JsonNode command) {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, command.required("bootstrap").asText());
        properties.put(ConsumerConfig.GROUP_ID_CONFIG, command.required("group").asText());
        properties.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class);
        properties.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class);
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        return properties;
    }
}
