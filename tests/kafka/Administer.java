import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** Administers topics with the Java admin client. A change is answered when the broker asked shows it. */
final class Administer {
    private static final long VISIBLE_MAX_NANOS = 60_000_000_000L;
    private static final long VISIBLE_POLL_MS = 20;

    private final Admin admin;
    private final JsonNode command;

    private Administer(Admin admin, JsonNode command) {
        this.admin = admin;
        this.command = command;
    }

    static JsonNode carryOut(String name, JsonNode command) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", command.required("bootstrap").asText()))) {
            Administer administer = new Administer(admin, command);
            return switch (name) {
                case "topics" -> administer.topics();
                case "create" -> administer.create();
                case "partitions" -> administer.partitions();
                case "config" -> administer.config();
                case "alter" -> administer.alter();
                case "describe" -> administer.describe();
                case "truncate" -> administer.truncate();
                case "deny" -> administer.deny();
                case "undeny" -> administer.undeny();
                default -> administer.delete();
            };
        }
    }

    /** Answers the names of all topics, internal ones too, sorted. */
    private JsonNode topics() throws Exception {
        ArrayNode answer = KafkaTool.JSON.createArrayNode();
        admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get().stream().sorted().forEach(answer::add);
        return answer;
    }

    /** Creates {@code topic} with {@code partitions}, {@code replication_factor} and {@code config}. */
    private JsonNode create() throws Exception {
        int partitions = command.required("partitions").asInt();
        NewTopic topic = new NewTopic(topic(), partitions, (short) command.required("replication_factor").asInt());
        Map<String, String> config = new HashMap<>();
        command.path("config").properties()
            .forEach(property -> config.put(property.getKey(), property.getValue().asText()));
        admin.createTopics(List.of(topic.configs(config))).all().get();
        return whenLed(partitions);
    }

    /** Grows {@code topic} to {@code partitions}. */
    private JsonNode partitions() throws Exception {
        int partitions = command.required("partitions").asInt();
        admin.createPartitions(Map.of(topic(), NewPartitions.increaseTo(partitions))).all().get();
        return whenLed(partitions);
    }

    /** Answers the configuration set on {@code topic} itself: name to value. */
    private JsonNode config() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic());
        ObjectNode answer = KafkaTool.JSON.createObjectNode();
        for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
            if (entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG) {
                answer.put(entry.name(), entry.value());
            }
        }
        return answer;
    }

    /** Sets the properties of {@code config} on {@code topic}; a null value deletes one. */
    private JsonNode alter() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic());
        List<AlterConfigOp> operations = new ArrayList<>();
        command.required("config").properties().forEach(property -> {
            JsonNode value = property.getValue();
            operations.add(new AlterConfigOp(
                new ConfigEntry(property.getKey(), value.isNull() ? "" : value.asText()),
                value.isNull() ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET));
        });
        admin.incrementalAlterConfigs(Map.of(resource, operations)).all().get();
        return KafkaTool.JSON.nullNode();
    }

    /** Answers the id of {@code topic}, and for each partition its leader (-1: none), replicas and in-sync replicas. */
    private JsonNode describe() throws Exception {
        TopicDescription description = admin.describeTopics(List.of(topic())).allTopicNames().get().get(topic());
        ObjectNode answer = KafkaTool.JSON.createObjectNode().put("id", description.topicId().toString());
        ArrayNode partitions = answer.putArray("partitions");
        for (TopicPartitionInfo info : description.partitions()) {
            ObjectNode partition = partitions.addObject().put("leader", info.leader() == null ? -1 : info.leader().id());
            ids(partition.putArray("replicas"), info.replicas());
            ids(partition.putArray("isr"), info.isr());
        }
        return answer;
    }

    private static void ids(ArrayNode array, List<Node> nodes) {
        nodes.forEach(node -> array.add(node.id()));
    }

    /** Deletes {@code topic}. */
    private JsonNode delete() throws Exception {
        admin.deleteTopics(List.of(topic())).all().get();
        await(() -> described().isEmpty());
        return KafkaTool.JSON.nullNode();
    }

    /** Deletes the records of {@code partition} of {@code topic} below {@code before_offset}. */
    private JsonNode truncate() throws Exception {
        TopicPartition partition = new TopicPartition(topic(), command.required("partition").asInt());
        RecordsToDelete records = RecordsToDelete.beforeOffset(command.required("before_offset").asLong());
        admin.deleteRecords(Map.of(partition, records)).all().get();
        return KafkaTool.JSON.nullNode();
    }

    /** Forbids everybody {@code operation} on {@code topic}, and allows everything else there. */
    private JsonNode deny() throws Exception {
        List<AclBinding> rights = List.of(
            right(AclOperation.ALL, AclPermissionType.ALLOW),
            right(AclOperation.fromString(command.required("operation").asText()), AclPermissionType.DENY));
        admin.createAcls(rights).all().get();
        await(() -> rights().size() == rights.size());
        return KafkaTool.JSON.nullNode();
    }

    /** Takes back what {@link #deny} did on {@code topic}. */
    private JsonNode undeny() throws Exception {
        admin.deleteAcls(List.of(allRights())).all().get();
        await(() -> rights().isEmpty());
        return KafkaTool.JSON.nullNode();
    }

    private Collection<AclBinding> rights() throws Exception {
        return admin.describeAcls(allRights()).values().get();
    }

    private AclBindingFilter allRights() {
        return new AclBindingFilter(pattern().toFilter(), AccessControlEntryFilter.ANY);
    }

    private AclBinding right(AclOperation operation, AclPermissionType permission) {
        return new AclBinding(pattern(), new AccessControlEntry("User:*", "*", operation, permission));
    }

    private ResourcePattern pattern() {
        return new ResourcePattern(ResourceType.TOPIC, topic(), PatternType.LITERAL);
    }

    private JsonNode whenLed(int partitions) throws Exception {
        await(() -> described().filter(description -> description.partitions().size() == partitions
            && description.partitions().stream().allMatch(info -> info.leader() != null)).isPresent());
        return KafkaTool.JSON.nullNode();
    }

    private Optional<TopicDescription> described() throws Exception {
        try {
            return Optional.of(admin.describeTopics(List.of(topic())).allTopicNames().get().get(topic()));
        } catch (ExecutionException e) {
            if (e.getCause() instanceof UnknownTopicOrPartitionException) {
                return Optional.empty();
            }
            throw e;
        }
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private void await(Condition condition) throws Exception {
        long start = System.nanoTime();
        while (!condition.holds()) {
            if (System.nanoTime() - start > VISIBLE_MAX_NANOS) {
                throw new TimeoutException("the change of " + topic() + " does not become visible");
            }
            Thread.sleep(VISIBLE_POLL_MS);
        }
    }

    private String topic() {
        return command.required("topic").asText();
    }
}
