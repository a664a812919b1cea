import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The job of workload W1 by hand: per key, ten events with type below 20 within the trailing minute of event time make a
 * firing, after which the key begins anew. Fields are read from the Protobuf bytes directly, without building a message,
 * because that is the fastest way to do it here.
 *
 * <p>With job=keep it is another one, for the time that recovery takes: every event is kept in the store under its own id, in
 * `bytes` bytes, and events with value below 500 are passed on.
 *
 * <p>Arguments: name=value pairs: job, bytes, broker, application, input, output, state (folder), guarantee, commit (milliseconds;
 * empty: Kafka Streams' own), instance (static membership under that name, session timeout 10 s).
 */
public final class Threshold {
  private static final String STORE = "windows";
  private static final long SPAN_MS = 60_000;
  private static final int AT_LEAST = 10;
  private static final int FAILURES_BELOW = 20;
  // Confluent's magic byte, the schema's id, and the message indexes of the first message of a file.
  private static final int PREFIX = 6;

  private Threshold() {}

  /** State of a key: the event times, in milliseconds, of its failures that a later one may still meet. */
  static final class Windows implements Processor<byte[], byte[], byte[], byte[]> {
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> store;
    private final long[] kept = new long[AT_LEAST];

    @Override
    public void init(ProcessorContext<byte[], byte[]> given) {
      context = given;
      store = given.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      final byte[] value = record.value();
      if (field(value, 4) >= FAILURES_BELOW) {
        return;
      }
      final byte[] key = Long.toString(field(value, 3)).getBytes(java.nio.charset.StandardCharsets.US_ASCII);
      final long now = eventTime(record);
      int count = 0;
      final byte[] before = store.get(key);
      if (before != null) {
        final ByteBuffer times = ByteBuffer.wrap(before);
        while (times.hasRemaining()) {
          final long time = times.getLong();
          if (time > now - SPAN_MS) {
            kept[count++] = time;
          }
        }
      }
      kept[count++] = now;
      if (count < AT_LEAST) {
        final ByteBuffer after = ByteBuffer.allocate(count * Long.BYTES);
        for (int i = 0; i < count; ++i) {
          after.putLong(kept[i]);
        }
        store.put(key, after.array());
        return;
      }
      store.put(key, null);
      final ByteBuffer firing = ByteBuffer.allocate(count * Long.BYTES);
      for (int i = 0; i < count; ++i) {
        firing.putLong(kept[i]);
      }
      context.forward(record.withKey(key).withValue(firing.array()));
    }

    static long eventTime(Record<byte[], byte[]> record) {
      final Header header = record.headers().lastHeader("ce_time");
      return Instant.parse(new String(header.value(), java.nio.charset.StandardCharsets.US_ASCII)).toEpochMilli();
    }

  }

  /** Keeps every event. */
  static final class Keep implements Processor<byte[], byte[], byte[], byte[]> {
    private final int size;
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> store;

    Keep(int size) {
      this.size = size;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> given) {
      context = given;
      store = given.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      final byte[] value = record.value();
      final ByteBuffer kept = ByteBuffer.allocate(Math.max(size, value.length));
      // Nothing that compression could make small.
      long noise = field(value, 1);
      while (kept.remaining() >= Long.BYTES) {
        noise = noise * 6364136223846793005L + 1442695040888963407L;
        kept.putLong(noise);
      }
      store.put(ByteBuffer.allocate(Long.BYTES).putLong(field(value, 1)).array(), kept.array());
      if (field(value, 5) < 500) {
        context.forward(record);
      }
    }
  }

  /** The number in a varint field of a value; 0 where it is absent. */
  private static long field(byte[] bytes, int wanted) {
    int at = PREFIX;
    while (at < bytes.length) {
      final int tag = bytes[at++];
      if ((tag & 7) == 2) {
        at += bytes[at] + 1;
        continue;
      }
      long number = 0;
      int shift = 0;
      byte next;
      do {
        next = bytes[at++];
        number |= (next & 0x7fL) << shift;
        shift += 7;
      } while (next < 0);
      if (tag >> 3 == wanted) {
        return number;
      }
    }
    return 0;
  }

  private static Properties settings(Properties given) {
    final Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given.getProperty("application"));
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given.getProperty("broker"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, given.getProperty("state"));
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, given.getProperty("guarantee"));
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    final String commit = given.getProperty("commit", "");
    if (!commit.isEmpty()) {
      settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Long.parseLong(commit));
    }
    settings.put("auto.offset.reset", "earliest");
    final String instance = given.getProperty("instance", "");
    if (!instance.isEmpty()) {
      settings.put(StreamsConfig.consumerPrefix("group.instance.id"), instance);
      settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 10_000);
    }
    return settings;
  }

  private static Topology topology(Properties given) {
    final Topology topology = new Topology();
    topology.addSource("events", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(),
        given.getProperty("input"));
    final int bytes = Integer.parseInt(given.getProperty("bytes", "0"));
    if (given.getProperty("job", "threshold").equals("keep")) {
      topology.addProcessor("threshold", () -> new Keep(bytes), "events");
    } else {
      topology.addProcessor("threshold", Windows::new, "events");
    }
    topology.addStateStore(
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.ByteArray(), Serdes.ByteArray())
            .withCachingEnabled(),
        "threshold");
    topology.addSink("firings", given.getProperty("output"), Serdes.ByteArray().serializer(),
        Serdes.ByteArray().serializer(), "threshold");
    return topology;
  }

  public static void main(String[] arguments) throws InterruptedException {
    final Properties given = new Properties();
    for (final String argument : arguments) {
      final int equals = argument.indexOf('=');
      given.put(argument.substring(0, equals), argument.substring(equals + 1));
    }
    final KafkaStreams streams = new KafkaStreams(topology(given), settings(given));
    final CountDownLatch stopped = new CountDownLatch(1);
    streams.setUncaughtExceptionHandler(failure -> {
      failure.printStackTrace();
      stopped.countDown();
      return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
          .SHUTDOWN_CLIENT;
    });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    stopped.await();
    System.exit(1);
  }
}
