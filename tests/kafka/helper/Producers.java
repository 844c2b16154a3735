import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Producers, kept by bootstrap list and settings. */
final class Producers {
    private record Which(String bootstrap, Map<String, String> settings) {}

    private static final Map<Which, KafkaProducer<byte[], byte[]>> OPEN = new ConcurrentHashMap<>();

    private static KafkaProducer<byte[], byte[]> of(JsonNode request) {
        return OPEN.computeIfAbsent(which(request), Producers::open);
    }

    private static Which which(JsonNode request) {
        return new Which(Helper.text(request, "bootstrap"), Admins.pairs(request.path("configs")));
    }

    private static KafkaProducer<byte[], byte[]> open(Which which) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", which.bootstrap());
        properties.put("linger.ms", "2");
        properties.put("batch.size", "65536");
        properties.put("acks", "all");
        properties.put("delivery.timeout.ms", "120000");
        properties.put("request.timeout.ms", "5000");
        properties.put("reconnect.backoff.max.ms", "200");
        properties.putAll(which.settings());
        var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
        if (which.settings().containsKey("transactional.id")) {
            producer.initTransactions();
        }
        return producer;
    }

    static void forget(String bootstrap) {
        OPEN.keySet().removeIf(which -> {
            if (which.bootstrap().equals(bootstrap)) {
                OPEN.get(which).close(Duration.ZERO);
                return true;
            }
            return false;
        });
    }

    /**
     * Records as the request lists them, and their offsets in the same order. With {@code outcome} they
     * are one transaction: {@code commit}, {@code abort}, or {@code open}, which leaves it to a later
     * request of the same settings.
     */
    static Object produce(JsonNode request) throws Exception {
        String topic = Helper.text(request, "topic");
        String outcome = request.path("outcome").asText("");
        KafkaProducer<byte[], byte[]> producer = of(request);
        if (!outcome.isEmpty() && !request.path("goes_on").asBoolean()) {
            producer.beginTransaction();
        }
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode record : request.required("records")) {
            JsonNode partition = record.path("partition");
            JsonNode timestamp = record.path("timestamp");
            var one = new ProducerRecord<>(topic, partition.isInt() ? partition.asInt() : null,
                    timestamp.isNumber() ? timestamp.asLong() : null, bytes(record.get("key")), bytes(record.get("value")));
            for (JsonNode header : record.path("headers")) {
                one.headers().add(header.get(0).asText(), bytes(header.get(1)));
            }
            sent.add(producer.send(one));
        }
        producer.flush();
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            offsets.add(one.get().offset());
        }
        switch (outcome) {
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> {}
        }
        return offsets;
    }

    /**
     * Many records {@code prefix-N}, filled up with dots to {@code size} bytes, N to partition N modulo
     * {@code partitions}, {@code rate} of them a second (0: as fast as it goes).
     */
    static Object numbers(JsonNode request) throws Exception {
        String topic = Helper.text(request, "topic");
        String prefix = Helper.text(request, "prefix");
        int partitions = request.required("partitions").asInt();
        int size = request.required("size").asInt();
        long from = request.required("from").asLong();
        long to = request.required("to").asLong();
        double rate = request.path("rate").asDouble();
        AtomicReference<Exception> failed = new AtomicReference<>();
        long began = System.nanoTime();
        // A producer of its own: a flush waits for everything that a producer has in hand.
        try (var producer = open(which(request))) {
            for (long n = from; n < to; n++) {
                byte[] name = (prefix + "-" + n).getBytes(StandardCharsets.UTF_8);
                byte[] value = name;
                if (size > name.length) {
                    value = new byte[size];
                    java.util.Arrays.fill(value, (byte) '.');
                    System.arraycopy(name, 0, value, 0, name.length);
                }
                producer.send(new ProducerRecord<>(topic, (int) (n % partitions), null, value), (done, error) -> {
                    if (error != null) {
                        failed.compareAndSet(null, error);
                    }
                });
                if (rate > 0 && (n - from) % 100 == 99) {
                    long due = began + (long) ((n - from + 1) / rate * 1e9);
                    long early = due - System.nanoTime();
                    if (early > 0) {
                        Thread.sleep(early / 1_000_000, (int) (early % 1_000_000));
                    }
                }
            }
            producer.flush();
        }
        if (failed.get() != null) {
            throw failed.get();
        }
        return (System.nanoTime() - began) / 1_000_000;
    }

    private static byte[] bytes(JsonNode base64) {
        return base64 == null || base64.isNull() ? null : Base64.getDecoder().decode(base64.asText());
    }
}
