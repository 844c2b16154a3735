import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Properties;

/**
 * A Kafka broker that formats its own directory and ends with whoever started it: {@code Broker
 * server.properties CLUSTER-ID [FORMAT-OPTION…]}. End of standard input means that the starter is gone, however it went;
 * then the broker ends at once, and its directory, the one of the properties file, goes with it.
 */
public final class Broker {
    public static void main(String[] args) throws Exception {
        Path file = Path.of(args[0]);
        Thread watch = new Thread(() -> endWithInput(file.getParent()), "watch");
        watch.setDaemon(true);
        watch.start();
        Properties properties = new Properties();
        try (var reader = Files.newBufferedReader(file)) {
            properties.load(reader);
        }
        // A second JVM, or a second start, would cost as much as the broker itself.
        if (!Files.exists(Path.of(properties.getProperty("log.dirs"), "meta.properties"))) {
            List<String> format = new ArrayList<>(List.of("format", "--cluster-id", args[1], "--config", args[0]));
            format.addAll(List.of(args).subList(2, args.length));
            int status = kafka.tools.StorageTool.execute(format.toArray(new String[0]), System.out);
            if (status != 0) {
                System.exit(status);
            }
        }
        kafka.Kafka.main(new String[] {args[0]});
    }

    private static void endWithInput(Path directory) {
        try {
            while (System.in.read() >= 0) {}
        } catch (Exception gone) {
            // As good as its end.
        }
        // The broker still writes; what comes after its files were listed is found the second time.
        for (int attempt = 0; attempt < 3 && Files.exists(directory); attempt++) {
            try (var paths = Files.walk(directory)) {
                List<Path> inside = paths.sorted(Comparator.reverseOrder()).toList();
                for (Path path : inside) {
                    path.toFile().delete();
                }
            } catch (Exception vanished) {
                // Somebody else was quicker.
            }
        }
        Runtime.getRuntime().halt(0);
    }
}
