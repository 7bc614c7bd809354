import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

/** Consumer groups, and what MirrorMaker 2's own client makes of a target cluster. */
final class Groups {
    private static final Duration CHECKPOINTS_READ_WITHIN = Duration.ofSeconds(60);

    private Groups() {
    }

    static JsonNode carryOut(String name, JsonNode command) throws Exception {
        return switch (name) {
            case "commit" -> commit(command);
            case "committed" -> committed(command);
            default -> mirror(command);
        };
    }

    /** Commits {@code offsets} for {@code group}, which has no members. */
    private static JsonNode commit(JsonNode command) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (JsonNode offset : command.required("offsets")) {
            TopicPartition place = new TopicPartition(
                offset.required("topic").asText(), offset.required("partition").asInt());
            OffsetAndMetadata at = new OffsetAndMetadata(
                offset.required("offset").asLong(), offset.required("metadata").asText());
            offsets.put(place, at);
        }
        try (Admin admin = Admin.create(bootstrap(command))) {
            admin.alterConsumerGroupOffsets(command.required("group").asText(), offsets).all().get();
        }
        return KafkaTool.JSON.getNodeFactory().booleanNode(true);
    }

    /** Answers what {@code group} has committed. */
    private static JsonNode committed(JsonNode command) throws Exception {
        try (Admin admin = Admin.create(bootstrap(command))) {
            String group = command.required("group").asText();
            return described(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
        }
    }

    /** Answers what {@code RemoteClusterUtils} says of {@code remote} and of {@code group} there. */
    private static JsonNode mirror(JsonNode command) throws Exception {
        String remote = command.required("remote").asText();
        String group = command.required("group").asText();
        Map<String, Object> cluster = bootstrap(command);
        ObjectNode answer = KafkaTool.JSON.createObjectNode();
        answer.put("hops", RemoteClusterUtils.replicationHops(cluster, remote));
        ArrayNode upstream = answer.putArray("upstream");
        new TreeSet<>(RemoteClusterUtils.upstreamClusters(cluster)).forEach(upstream::add);
        ArrayNode heartbeats = answer.putArray("heartbeats");
        new TreeSet<>(RemoteClusterUtils.heartbeatTopics(cluster)).forEach(heartbeats::add);
        ArrayNode checkpoints = answer.putArray("checkpoints");
        new TreeSet<>(RemoteClusterUtils.checkpointTopics(cluster)).forEach(checkpoints::add);
        answer.set("offsets",
            described(RemoteClusterUtils.translateOffsets(cluster, remote, group, CHECKPOINTS_READ_WITHIN)));
        return answer;
    }

    private static Map<String, Object> bootstrap(JsonNode command) {
        return Map.of("bootstrap.servers", command.required("bootstrap").asText());
    }

    private static JsonNode described(Map<TopicPartition, OffsetAndMetadata> offsets) {
        ArrayNode answer = KafkaTool.JSON.createArrayNode();
        offsets.forEach((place, at) -> {
            if (at != null) {
                answer.addObject()
                    .put("topic", place.topic())
                    .put("partition", place.partition())
                    .put("offset", at.offset())
                    .put("metadata", at.metadata());
            }
        });
        return answer;
    }
}
