import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.coordinator.group.generated.CoordinatorRecordType;
import org.apache.kafka.coordinator.group.generated.OffsetCommitKey;
import org.apache.kafka.coordinator.group.generated.OffsetCommitValue;

/** Apache Kafka's own consumer: members of groups, and a second opinion on what a topic holds. */
final class Consumers {
    /** Which records of the groups' log are commits. */
    private static final short OFFSET_COMMIT = CoordinatorRecordType.OFFSET_COMMIT.id();

    private static final Map<String, Member> MEMBERS = new ConcurrentHashMap<>();

    private static KafkaConsumer<byte[], byte[]> of(JsonNode request) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", Helper.text(request, "bootstrap"));
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("reconnect.backoff.max.ms", "200");
        properties.putAll(Admins.pairs(request.path("configs")));
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** All records of a topic that are there now, in the order of partitions and offsets. */
    static Object read(JsonNode request) {
        return all(request, Helper.text(request, "topic")).stream().map(Consumers::record).toList();
    }

    /** All commits that a group has made, in their order: they are records of one partition. */
    static Object commits(JsonNode request) {
        String group = Helper.text(request, "group");
        List<Object> commits = new ArrayList<>();
        for (var record : all(request, "__consumer_offsets")) {
            ByteBuffer key = ByteBuffer.wrap(record.key());
            if (key.getShort() != OFFSET_COMMIT || record.value() == null) {
                continue;
            }
            var what = new OffsetCommitKey(new ByteBufferAccessor(key), (short) 0);
            ByteBuffer value = ByteBuffer.wrap(record.value());
            var committed = new OffsetCommitValue(new ByteBufferAccessor(value), value.getShort());
            if (what.group().equals(group)) {
                commits.add(Map.of("topic", what.topic(), "partition", what.partition(), "offset", committed.offset(),
                        "at", committed.commitTimestamp()));
            }
        }
        return commits;
    }

    private static List<ConsumerRecord<byte[], byte[]>> all(JsonNode request, String topic) {
        try (var consumer = of(request)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(info.topic(), info.partition()))
                    .sorted((a, b) -> a.partition() - b.partition())
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
            while (partitions.stream().anyMatch(at -> consumer.position(at) < ends.get(at))) {
                consumer.poll(Duration.ofMillis(100)).forEach(all::add);
            }
            all.sort((a, b) -> a.partition() != b.partition()
                    ? a.partition() - b.partition() : Long.compare(a.offset(), b.offset()));
            return all;
        }
    }

    private static Object record(ConsumerRecord<byte[], byte[]> record) {
        Map<String, Object> fields = new HashMap<>();
        fields.put("partition", record.partition());
        fields.put("offset", record.offset());
        fields.put("timestamp", record.timestamp());
        fields.put("timestamp_type", record.timestampType().toString());
        fields.put("key", base64(record.key()));
        fields.put("value", base64(record.value()));
        List<Object> headers = new ArrayList<>();
        record.headers().forEach(header -> {
            List<Object> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(base64(header.value()));
            headers.add(pair);
        });
        fields.put("headers", headers);
        return fields;
    }

    private static String base64(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    /** A member of a group that reads and commits until it is stopped. */
    static Object start(JsonNode request) {
        List<String> topics = new ArrayList<>();
        request.required("topics").forEach(topic -> topics.add(topic.asText()));
        Member member = new Member(of(request), topics);
        if (MEMBERS.putIfAbsent(Helper.text(request, "name"), member) != null) {
            throw new IllegalArgumentException("there is a consumer of that name");
        }
        member.start();
        return null;
    }

    /** What it holds, what it has read after the first {@code skip} records, and how it failed. */
    static Object state(JsonNode request) {
        return MEMBERS.get(Helper.text(request, "name")).state(request.required("skip").asInt());
    }

    /** Closes it: it leaves the group, or with {@code stay} it doesn't. */
    static Object stop(JsonNode request) throws Exception {
        Member member = MEMBERS.remove(Helper.text(request, "name"));
        if (member != null) {
            member.stay = request.path("stay").asBoolean();
            member.stopping = true;
            member.consumer.wakeup();
            member.join();
        }
        return null;
    }

    private static final class Member extends Thread implements ConsumerRebalanceListener {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final List<String> topics;
        private final TreeSet<String> held = new TreeSet<>();
        private final List<Object> read = new ArrayList<>();
        private volatile boolean stopping;
        private volatile boolean stay;
        private String failure;
        private int rebalances;

        Member(KafkaConsumer<byte[], byte[]> consumer, List<String> topics) {
            super("consumer");
            setDaemon(true);
            this.consumer = consumer;
            this.topics = topics;
        }

        @Override
        public void run() {
            try {
                consumer.subscribe(topics, this);
                boolean owes = false;
                while (!stopping) {
                    var records = consumer.poll(Duration.ofMillis(100));
                    synchronized (this) {
                        for (var record : records) {
                            String value = record.value() == null ? "" : new String(record.value());
                            read.add(List.of(record.topic(), record.partition(), record.offset(), value));
                        }
                    }
                    if (owes || !records.isEmpty()) {
                        owes = !commit();
                    }
                }
            } catch (Throwable error) {
                if (!stopping) {
                    synchronized (this) {
                        failure = error.toString();
                    }
                }
            } finally {
                var how = stay ? CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP
                        : CloseOptions.GroupMembershipOperation.DEFAULT;
                consumer.close(CloseOptions.timeout(Duration.ofSeconds(5)).withGroupMembershipOperation(how));
            }
        }

        /** Whether it is committed; during a cooperative rebalance it has to wait for the next poll. */
        private boolean commit() {
            try {
                consumer.commitSync();
                return true;
            } catch (RebalanceInProgressException error) {
                return false;
            }
        }

        @Override
        public synchronized void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            rebalances++;
            partitions.forEach(at -> held.add(at.toString()));
        }

        @Override
        public synchronized void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(at -> held.remove(at.toString()));
        }

        @Override
        public synchronized void onPartitionsLost(Collection<TopicPartition> partitions) {
            onPartitionsRevoked(partitions);
        }

        synchronized Object state(int skip) {
            Map<String, Object> state = new HashMap<>();
            state.put("held", new ArrayList<>(held));
            state.put("read", new ArrayList<>(read.subList(Math.min(skip, read.size()), read.size())));
            state.put("failure", failure);
            state.put("rebalances", rebalances);
            return state;
        }
    }
}
