// A worker that leases its jobs over HTTP, with the JDK's client, and Gson for JSON. Start as many of it as you like.
import java.io.IOException;
import java.net.InetAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.StreamSupport;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;

class Worker {
    static final String API = Optional.ofNullable(System.getenv("LONGSHORE_API")).orElse("http://127.0.0.1:8000");
    static final int LEASE_FOR = 5; // seconds: what a killed worker held comes back after them
    static final int AT_ONCE = 10;

    /** What a job does: the value is the result, an exception fails this attempt. */
    interface Handler {
        Object handle(JsonElement args) throws Exception;
    }

    static final Map<String, Handler> HANDLERS = Map.of("greet", args -> {
        var who = args.getAsJsonObject();
        if (!who.has("name")) throw new IllegalArgumentException("there is no name");
        if (who.has("seconds")) Thread.sleep(who.get("seconds").getAsLong() * 1000);
        return "Good morning, " + who.get("name").getAsString();
    });

    static class Refused extends IOException {
        final int status;

        Refused(int status, String body) {
            super(status + " " + body);
            this.status = status;
        }
    }

    /** Whether the same request may be answered otherwise later. */
    static boolean passes(IOException error) {
        return !(error instanceof Refused refused) || refused.status >= 500 || refused.status == 429;
    }

    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(5)).build();
    static final Gson GSON = new Gson();

    static JsonObject call(String path, Object body) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(API + path)).timeout(Duration.ofSeconds(30))
            .header("content-type", "application/json").POST(HttpRequest.BodyPublishers.ofString(GSON.toJson(body)));
        if (System.getenv("LONGSHORE_KEY") != null) request.header("authorization", "Bearer " + System.getenv("LONGSHORE_KEY"));
        var response = CLIENT.send(request.build(), BodyHandlers.ofString());
        if (response.statusCode() >= 300) throw new Refused(response.statusCode(), response.body());
        return GSON.fromJson(response.body(), JsonObject.class);
    }

    /** Extends the lease; called three times as often as it would end. */
    static void heartbeat(long id, String lease) {
        try {
            var leases = List.of(Map.of("id", id, "lease", lease));
            call("/v1/leases/heartbeat", Map.of("leases", leases, "extend", LEASE_FOR));
        } catch (IOException | InterruptedException error) {
            System.out.println("heartbeat: " + error);
        }
    }

    /** All that is reported may be sent again: after an outage the same outcome is accepted once more. */
    static void report(long id, String outcome, Map<String, Object> body) throws Exception {
        for (;;) {
            try {
                call("/v1/jobs/" + id + "/" + outcome, body);
                System.out.println("job " + id + ": " + outcome);
                return;
            } catch (IOException error) {
                if (error instanceof Refused refused && refused.status == 409) {
                    System.out.println("job " + id + " is not ours any more: " + error.getMessage());
                    return;
                }
                if (!passes(error)) throw error;
                System.out.println("report: " + error);
                Thread.sleep(1000);
            }
        }
    }

    static void run(JsonObject job) {
        var id = job.get("id").getAsLong();
        var lease = job.get("lease").getAsString();
        var heartbeats = Executors.newSingleThreadScheduledExecutor();
        heartbeats.scheduleAtFixedRate(() -> heartbeat(id, lease), LEASE_FOR * 1000 / 3, LEASE_FOR * 1000 / 3, TimeUnit.MILLISECONDS);
        try {
            String outcome;
            Map<String, Object> body;
            try {
                var result = HANDLERS.get(job.get("kind").getAsString()).handle(job.get("args"));
                outcome = "complete";
                body = Map.of("lease", lease, "result", result);
            } catch (Exception error) { // whatever a job does wrong is its own attempt's failure
                outcome = "fail";
                body = Map.of("lease", lease, "error", error.toString());
            }
            heartbeats.shutdownNow();
            report(id, outcome, body);
        } catch (Exception error) {
            System.out.println("job " + id + ": " + error);
        } finally {
            heartbeats.shutdownNow();
        }
    }

    static volatile boolean stop = false;

    public static void main(String[] arguments) throws Exception {
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { // SIGTERM: jobs in hand are finished, and no other begun
            stop = true;
            try {
                main.join();
            } catch (InterruptedException error) {
                main.interrupt();
            }
        }));
        var name = InetAddress.getLocalHost().getHostName() + ":" + ProcessHandle.current().pid();
        var threads = Executors.newFixedThreadPool(AT_ONCE, task -> {
            var thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        var wanted = Map.of("queues", List.of("java"), "kinds", HANDLERS.keySet(), "limit", AT_ONCE, "lease_for", LEASE_FOR, "wait", 5, "worker", name);
        while (!stop) {
            try {
                var jobs = call("/v1/leases", wanted).getAsJsonArray("jobs");
                CompletableFuture.allOf(StreamSupport.stream(jobs.spliterator(), false)
                    .map(job -> CompletableFuture.runAsync(() -> run(job.getAsJsonObject()), threads))
                    .toArray(CompletableFuture[]::new)).join();
            } catch (IOException error) {
                if (!passes(error)) throw error;
                System.out.println("lease: " + error); // the API is away: it will be back
                Thread.sleep(1000);
            }
        }
    }
}
