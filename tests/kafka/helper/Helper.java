import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * One JVM that does for the tests what takes Apache Kafka's own clients. A request is a line of JSON on
 * standard input, {@code {"id":1,"op":"create_topic","bootstrap":"127.0.0.1:9092",…}}; its answer is a
 * line on standard output, {@code {"id":1,"ok":…}} or {@code {"id":1,"error":"…"}}, in any order. Each
 * request has a thread of its own, so a slow one holds up nobody. It ends with its standard input.
 */
public final class Helper {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        // Whatever else prints, prints elsewhere.
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        ExecutorService threads = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode request = JSON.readTree(line);
            threads.execute(() -> {
                ObjectNode answer = JSON.createObjectNode();
                answer.set("id", request.get("id"));
                try {
                    answer.set("ok", JSON.valueToTree(answer(request)));
                } catch (Throwable error) {
                    Throwable cause = error;
                    while ((cause instanceof ExecutionException || cause instanceof CompletionException)
                            && cause.getCause() != null) {
                        cause = cause.getCause();
                    }
                    answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
                }
                String text = answer + "\n";
                synchronized (out) {
                    out.print(text);
                    out.flush();
                }
            });
        }
        Runtime.getRuntime().halt(0);
    }

    /** What the request asks for, as anything that Jackson can write. */
    private static Object answer(JsonNode request) throws Exception {
        String op = request.get("op").asText();
        return switch (op) {
            case "create_topic" -> Admins.createTopic(request);
            case "delete_topic" -> Admins.deleteTopic(request);
            case "add_partitions" -> Admins.addPartitions(request);
            case "alter_topic" -> Admins.alterTopic(request);
            case "delete_records" -> Admins.deleteRecords(request);
            case "offsets" -> Admins.patiently(request, () -> Admins.offsets(request));
            case "partitions" -> Admins.patiently(request, () -> Admins.partitions(request));
            case "move_leader" -> Admins.moveLeader(request);
            case "throttle" -> Admins.throttle(request);
            case "allow" -> Admins.allow(request);
            case "group" -> Admins.patiently(request, () -> Admins.group(request));
            case "committed" -> Admins.patiently(request, () -> Admins.committed(request));
            case "commits" -> Consumers.commits(request);
            case "commit" -> Admins.commit(request);
            case "delete_group" -> Admins.deleteGroup(request);
            case "forget" -> forget(request);
            case "produce" -> Producers.produce(request);
            case "produce_numbers" -> Producers.numbers(request);
            case "read" -> Consumers.read(request);
            case "consumer_start" -> Consumers.start(request);
            case "consumer_state" -> Consumers.state(request);
            case "consumer_stop" -> Consumers.stop(request);
            default -> throw new IllegalArgumentException("unknown op " + op);
        };
    }

    /** Closes what was kept for a cluster that is gone. */
    private static Object forget(JsonNode request) {
        String bootstrap = request.get("bootstrap").asText();
        Admins.forget(bootstrap);
        Producers.forget(bootstrap);
        return null;
    }

    static String text(JsonNode request, String field) {
        return request.required(field).asText();
    }
}
