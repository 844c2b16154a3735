// Writes `batches.txt`, the sample that `java.rs` reads: batches by Apache Kafka's own code, one a
// line, its name and its bytes. To make it again, in this folder, with the jars of a Kafka
// distribution:
//
//     java -cp 'libs/*' Batches.java > batches.txt

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.Utils;

public class Batches {
    static final long TIME = 1_700_000_000_000L;

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void print(String name, ByteBuffer buffer) {
        System.out.println(name + " " + HexFormat.of().formatHex(Utils.toArray(buffer)));
    }

    // Record i: null key for even i, null value for every fifth, one header name twice for every third.
    static void fill(MemoryRecordsBuilder builder, int from, int count) {
        for (int i = from; i < from + count; i++) {
            Header[] headers = i % 3 == 0
                ? new Header[] {new RecordHeader("trace", bytes("t" + i)), new RecordHeader("trace", (byte[]) null)}
                : new Header[0];
            byte[] key = i % 2 == 0 ? null : bytes("key-" + i);
            byte[] value = i % 5 == 0 ? null : bytes("value ".repeat(i % 20) + i);
            builder.appendWithOffset(i, TIME + i * 7L, key, value, headers);
        }
    }

    static MemoryRecordsBuilder builder(Compression compression, TimestampType type, long base, long producer, boolean transactional) {
        return new MemoryRecordsBuilder(ByteBuffer.allocate(1 << 17), RecordBatch.MAGIC_VALUE_V2, compression, type,
            base, TIME + 1_000_000, producer, (short) (producer < 0 ? -1 : 3), producer < 0 ? -1 : 11, transactional, false, 9, 1 << 17);
    }

    public static void main(String[] args) {
        Compression[] all = {Compression.NONE, Compression.gzip().build(), Compression.snappy().build(),
            Compression.lz4().build(), Compression.zstd().build()};
        for (Compression compression : all) {
            MemoryRecordsBuilder builder = builder(compression, TimestampType.CREATE_TIME, 100, -1, false);
            fill(builder, 100, 40);
            print(compression.type().name, builder.build().buffer());

            // More than a block of any framing.
            MemoryRecordsBuilder large = builder(compression, TimestampType.CREATE_TIME, 1000, -1, false);
            for (int i = 1000; compression.type() != CompressionType.NONE && i < 1400; i++) {
                large.appendWithOffset(i, TIME, null, bytes("x".repeat(200) + i));
            }
            if (large.numRecords() > 0) {
                print(compression.type().name + "-large", large.build().buffer());
            }
        }
        MemoryRecordsBuilder append = builder(Compression.NONE, TimestampType.LOG_APPEND_TIME, 200, -1, false);
        fill(append, 200, 3);
        print("log-append-time", append.build().buffer());

        MemoryRecordsBuilder transaction = builder(Compression.NONE, TimestampType.CREATE_TIME, 300, 77, true);
        fill(transaction, 300, 3);
        print("transactional", transaction.build().buffer());
        for (ControlRecordType type : new ControlRecordType[] {ControlRecordType.ABORT, ControlRecordType.COMMIT}) {
            print(type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(303, TIME, 9, 77, (short) 3,
                new EndTransactionMarker(type, 5)).buffer());
        }

        // Compaction: of ten records the odd ones are left, and of ten others none.
        ByteBuffer log = ByteBuffer.allocate(1 << 16);
        MemoryRecordsBuilder whole = builder(Compression.NONE, TimestampType.CREATE_TIME, 400, -1, false);
        fill(whole, 400, 10);
        log.put(whole.build().buffer());
        MemoryRecordsBuilder gone = builder(Compression.NONE, TimestampType.CREATE_TIME, 410, 78, false);
        fill(gone, 410, 10);
        log.put(gone.build().buffer());
        log.flip();
        MemoryRecords.RecordFilter filter = new MemoryRecords.RecordFilter(TIME, 1000) {
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }

            protected boolean shouldRetainRecord(RecordBatch batch, org.apache.kafka.common.record.internal.Record record) {
                return record.offset() < 408 && record.offset() % 2 == 1;
            }
        };
        ByteBuffer compacted = ByteBuffer.allocate(1 << 16);
        MemoryRecords.readableRecords(log).filterTo(filter, compacted, BufferSupplier.NO_CACHING);
        compacted.flip();
        print("compacted", compacted);
    }
}
