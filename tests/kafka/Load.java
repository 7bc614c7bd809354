import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/**
 * A varied load, the same for the same description.
 *
 * <p>Fields: {@code seed}; {@code partitions} and {@code count}, records in turn to each partition; {@code value_size},
 * the largest ordinary value in bytes; {@code odd}, whether one record in four is unusual; {@code keyed}, whether every
 * record has a key, as compacted topics demand.
 *
 * <p>Every record carries its running number: in the key, or else in a header.
 */
final class Load {
    /** Just below the default limit of a batch, which is 1 MiB. */
    private static final int HUGE_VALUE_SIZE = 900_000;
    /** Huge values come one in this many odd records. */
    private static final int ODD_RECORDS_PER_HUGE = 64;
    private static final long ORDINARY_TIMESTAMP_MS = 1_700_000_000_000L;
    /** The start of the epoch, just after it, a week after it, and years 5138 and 292278994. */
    private static final long[] ODD_TIMESTAMPS_MS = {0, 1, 604_800_000, 100_000_000_000_000L, Long.MAX_VALUE};

    private final String topic;
    private final int partitions;
    private final int count;
    private final int valueSize;
    private final boolean odd;
    private final boolean keyed;
    private final SplittableRandom random;

    Load(String topic, JsonNode load) {
        this.topic = topic;
        this.partitions = load.required("partitions").asInt();
        this.count = load.required("count").asInt();
        this.valueSize = load.required("value_size").asInt();
        this.odd = load.required("odd").asBoolean();
        this.keyed = load.required("keyed").asBoolean();
        this.random = new SplittableRandom(load.required("seed").asLong());
    }

    List<ProducerRecord<byte[], byte[]>> records() {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>(count);
        for (int number = 0; number < count; number++) {
            records.add(odd && random.nextInt(4) == 0 ? odd(number) : ordinary(number));
        }
        return records;
    }

    private ProducerRecord<byte[], byte[]> ordinary(int number) {
        return record(number, ORDINARY_TIMESTAMP_MS + number, key(number), text(random.nextInt(valueSize + 1)), List.of());
    }

    private ProducerRecord<byte[], byte[]> odd(int number) {
        long timestamp = ORDINARY_TIMESTAMP_MS + number;
        byte[] key = key(number);
        byte[] value = text(valueSize);
        if (random.nextInt(ODD_RECORDS_PER_HUGE) == 0) {
            return record(number, timestamp, key, noise(HUGE_VALUE_SIZE), List.of());
        }
        return switch (random.nextInt(6)) {
            case 0 -> record(number, timestamp, key, null, List.of());
            case 1 -> record(number, timestamp, key, new byte[0], List.of());
            case 2 -> record(number, timestamp, keyed ? key : null, value, List.of());
            case 3 -> record(number, timestamp, keyed ? key : new byte[0], value, List.of());
            case 4 -> record(number, timestamp, key, value, oddHeaders());
            default -> record(number, ODD_TIMESTAMPS_MS[random.nextInt(ODD_TIMESTAMPS_MS.length)], key, value, List.of());
        };
    }

    private ProducerRecord<byte[], byte[]> record(
            int number, long timestamp, byte[] key, byte[] value, List<Header> headers) {
        List<Header> all = new ArrayList<>(headers);
        if (key == null || key.length == 0) {
            all.add(new RecordHeader("number", key(number)));
        }
        return new ProducerRecord<>(topic, number % partitions, timestamp, key, value, all);
    }

    /** Repeated keys in a given order, a null value, an empty value, an empty key and one beyond ASCII. */
    private List<Header> oddHeaders() {
        return List.of(
            new RecordHeader("twice", noise(3)),
            new RecordHeader("null", null),
            new RecordHeader("twice", noise(3)),
            new RecordHeader("", new byte[0]),
            new RecordHeader("größe", noise(200)));
    }

    private static byte[] key(int number) {
        return ByteBuffer.allocate(Integer.BYTES).putInt(number).array();
    }

    /** Bytes that compress about as well as real data does. */
    private byte[] text(int size) {
        StringBuilder text = new StringBuilder(size + 16);
        while (text.length() < size) {
            text.append("{\"id\":").append(random.nextInt(10_000)).append("},");
        }
        text.setLength(size);
        return text.toString().getBytes(StandardCharsets.US_ASCII);
    }

    /** Bytes that do not compress. */
    private byte[] noise(int size) {
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        return bytes;
    }
}
