import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/** What Kafka's own classes say: `errors`, or `messages FILE` with a name, a version and hex bytes a line. */
public class Oracle {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("errors")) {
            for (Errors error : Errors.values()) {
                System.out.println(error.code() + " " + error.name() + " " + (error.exception() instanceof RetriableException));
            }
            return;
        }
        StringBuilder out = new StringBuilder();
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            String[] words = line.split(" ", 3);
            out.append(again(words[0], Short.parseShort(words[1]), HexFormat.of().parseHex(words[2]))).append('\n');
        }
        System.out.print(out);
    }

    /** The bytes that a message is written to after it was read, or what went wrong. */
    static String again(String name, short version, byte[] bytes) {
        try {
            Message message = named(name);
            ByteBuffer from = ByteBuffer.wrap(bytes);
            message.read(new ByteBufferAccessor(from), version);
            if (from.hasRemaining()) return from.remaining() + " bytes left";
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer to = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(to), cache, version);
            return HexFormat.of().formatHex(to.array());
        } catch (Exception error) {
            return error.toString().replace('\n', ' ');
        }
    }

    static Message named(String name) throws Exception {
        String full = "org.apache.kafka.common.message." + name;
        try {
            return (Message) Class.forName(full + "Data").getConstructor().newInstance();
        } catch (ClassNotFoundException data) {
            return (Message) Class.forName(full).getConstructor().newInstance();
        }
    }
}
