// Apache Kafka's own assignors, asked by lines on stdin, answering by lines on stdout.
//
//   java -cp 'JARS/*' Assignors.java
//
// What goes wrong answers `error WHAT`; what takes too long answers `endless`, and that is the end.
//
// Fields are separated by tabs; `-` is a field that isn't there; lists are `topic:0,1;other:2`.
//
//   topic NAME PARTITIONS RACKS         racks of each partition: `a,b;;c`
//   member ID INSTANCE RACK TOPICS OWNED GENERATION USER_DATA    topics with commas; data in hex
//   assign NAME SECONDS                 answers `MEMBER LIST ...`, forgets topics and members
//   userdata NAME OWNED GENERATION      answers what a member with that past sends, in hex
//   time NAME TOPICS PARTITIONS MEMBERS RACKS PAST RUNS    answers nanoseconds of each run
//   version                             answers the version of the library

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.utils.AppInfoParser;

public class Assignors {
    /** A new one each time, as the sticky ones remember the highest generation they saw. */
    static ConsumerPartitionAssignor assignor(String name) {
        switch (name) {
            case "range": return new RangeAssignor();
            case "roundrobin": return new RoundRobinAssignor();
            case "sticky": return new StickyAssignor();
            case "cooperative-sticky": return new CooperativeStickyAssignor();
            default: throw new IllegalArgumentException(name);
        }
    }

    static final Map<String, Node> nodes = new HashMap<>();

    static Node node(String rack) {
        return nodes.computeIfAbsent(rack, r -> new Node(nodes.size(), "host", 9092, r));
    }

    static PartitionInfo partition(String topic, int number, String racks) {
        Node[] replicas = racks.isEmpty()
            ? new Node[0]
            : Arrays.stream(racks.split(",")).map(Assignors::node).toArray(Node[]::new);
        Node leader = replicas.length == 0 ? Node.noNode() : replicas[0];
        return new PartitionInfo(topic, number, leader, replicas, replicas);
    }

    static List<TopicPartition> list(String text) {
        List<TopicPartition> partitions = new ArrayList<>();
        if (text.equals("-"))
            return partitions;
        for (String topic : text.split(";")) {
            int colon = topic.lastIndexOf(':');
            for (String number : topic.substring(colon + 1).split(","))
                partitions.add(new TopicPartition(topic.substring(0, colon), Integer.parseInt(number)));
        }
        return partitions;
    }

    static String text(List<TopicPartition> partitions) {
        Map<String, List<String>> topics = new TreeMap<>();
        for (TopicPartition partition : partitions)
            topics.computeIfAbsent(partition.topic(), t -> new ArrayList<>()).add("" + partition.partition());
        List<String> lists = new ArrayList<>();
        topics.forEach((topic, numbers) -> lists.add(topic + ":" + String.join(",", numbers)));
        return lists.isEmpty() ? "-" : String.join(";", lists);
    }

    static Optional<String> optional(String text) {
        return text.equals("-") ? Optional.empty() : Optional.of(text);
    }

    static Map<String, Assignment> assign(String name, List<PartitionInfo> partitions, Map<String, Subscription> members) {
        Cluster cluster = new Cluster("c", nodes.values(), partitions, Collections.emptySet(), Collections.emptySet());
        return assignor(name).assign(cluster, new GroupSubscription(members)).groupAssignment();
    }

    /** Some inputs send Kafka's sticky ones round for ever, and a thread can't be stopped. */
    static Map<String, Assignment> assignWithin(
        int seconds, String name, List<PartitionInfo> partitions, Map<String, Subscription> members
    ) throws Exception {
        FutureTask<Map<String, Assignment>> task = new FutureTask<>(() -> assign(name, partitions, members));
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        thread.start();
        try {
            return task.get(seconds, TimeUnit.SECONDS);
        } catch (TimeoutException endless) {
            System.out.println("endless");
            System.out.flush();
            System.exit(3);
            throw endless;
        } catch (ExecutionException error) {
            throw new IllegalStateException(error.getCause());
        }
    }

    static Subscription member(String[] field) {
        List<String> topics = field[4].equals("-") ? List.of() : Arrays.asList(field[4].split(","));
        ByteBuffer userData = field[7].equals("-") ? null : ByteBuffer.wrap(HexFormat.of().parseHex(field[7]));
        Subscription subscription =
            new Subscription(topics, userData, list(field[5]), Integer.parseInt(field[6]), optional(field[3]));
        subscription.setGroupInstanceId(optional(field[2]));
        return subscription;
    }

    /** Members m0, m1, ...; topics t0, t1, ... of which all have the same size. */
    static String time(String[] field) {
        String name = field[1];
        int topics = Integer.parseInt(field[2]);
        int each = Integer.parseInt(field[3]);
        int count = Integer.parseInt(field[4]);
        int racks = Integer.parseInt(field[5]);
        boolean past = field[6].equals("past");
        int runs = Integer.parseInt(field[7]);
        List<String> names = new ArrayList<>();
        List<PartitionInfo> partitions = new ArrayList<>();
        for (int topic = 0; topic < topics; topic++) {
            names.add("t" + topic);
            for (int number = 0; number < each; number++) {
                String on = racks == 0 ? "" : "r" + number % racks + ",r" + (number + 1) % racks;
                partitions.add(partition("t" + topic, number, on));
            }
        }
        Map<String, List<TopicPartition>> owned = new HashMap<>();
        if (past) {
            Map<String, Subscription> before = new HashMap<>();
            for (int at = 0; at < count; at++)
                before.put("m" + at, new Subscription(names, null, List.of(), -1, Optional.empty()));
            assign("roundrobin", partitions, before).forEach((id, share) -> owned.put(id, share.partitions()));
        }
        List<String> taken = new ArrayList<>();
        for (int run = 0; run < runs; run++) {
            Map<String, Subscription> members = new HashMap<>();
            // A tenth left, and as many others came.
            for (int at = count / 10; at < count + count / 10; at++) {
                String id = "m" + at;
                List<TopicPartition> had = owned.getOrDefault(id, List.of());
                ByteBuffer userData = null;
                if (past && name.equals("sticky"))
                    userData = userData(name, had, 5);
                Optional<String> rack = racks == 0 ? Optional.empty() : Optional.of("r" + at % racks);
                boolean fields = past && !name.equals("sticky");
                members.put(id, new Subscription(names, userData, fields ? had : List.of(), fields ? 5 : -1, rack));
            }
            System.gc();
            long start = System.nanoTime();
            int assigned = 0;
            for (Assignment share : assign(name, partitions, members).values())
                assigned += share.partitions().size();
            taken.add((System.nanoTime() - start) + ":" + assigned);
        }
        return String.join("\t", taken);
    }

    @SuppressWarnings("removal") // Its successor is not in 4.2.
    static ByteBuffer userData(String name, List<TopicPartition> owned, int generation) {
        ConsumerPartitionAssignor assignor = assignor(name);
        if (generation >= 0)
            assignor.onAssignment(new Assignment(owned), new ConsumerGroupMetadata("g", generation, "m", Optional.empty()));
        return assignor.subscriptionUserData(Set.of());
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<PartitionInfo> partitions = new ArrayList<>();
        Map<String, Subscription> members = new HashMap<>();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] field = line.split("\t", -1);
            try {
                switch (field[0]) {
                    case "topic": {
                        int count = Integer.parseInt(field[2]);
                        String[] racks = field[3].split(";", -1);
                        for (int number = 0; number < count; number++)
                            partitions.add(partition(field[1], number, number < racks.length ? racks[number] : ""));
                        break;
                    }
                    case "member":
                        members.put(field[1], member(field));
                        break;
                    case "assign": {
                        List<String> answer = new ArrayList<>();
                        List<PartitionInfo> asked = partitions;
                        Map<String, Subscription> askers = members;
                        partitions = new ArrayList<>();
                        members = new HashMap<>();
                        assignWithin(Integer.parseInt(field[2]), field[1], asked, askers).forEach((id, share) -> {
                            answer.add(id);
                            answer.add(text(share.partitions()));
                        });
                        out.println(String.join("\t", answer));
                        break;
                    }
                    case "userdata": {
                        ByteBuffer data = userData(field[1], list(field[2]), Integer.parseInt(field[3]));
                        byte[] bytes = new byte[data == null ? 0 : data.remaining()];
                        if (data != null)
                            data.get(bytes);
                        out.println(HexFormat.of().formatHex(bytes));
                        break;
                    }
                    case "time":
                        out.println(time(field));
                        break;
                    case "version":
                        out.println(AppInfoParser.getVersion());
                        break;
                    default:
                        throw new IllegalArgumentException(line);
                }
            } catch (RuntimeException error) {
                out.println("error\t" + error);
            }
            out.flush();
        }
    }
}
