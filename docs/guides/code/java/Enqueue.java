// Enqueues a job over HTTP and waits for its result.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Map;
import java.util.Optional;

import com.google.gson.Gson;
import com.google.gson.JsonObject;

class Enqueue {
    public static void main(String[] arguments) throws Exception {
        var api = Optional.ofNullable(System.getenv("LONGSHORE_API")).orElse("http://127.0.0.1:8000");
        var job = Map.of("kind", "greet", "queue", "java", "args", Map.of("name", "Ann"));
        var request = HttpRequest.newBuilder(URI.create(api + "/v1/jobs?wait=30s"))
            .header("content-type", "application/json")
            .header("idempotency-key", "greet-ann-" + ProcessHandle.current().pid()) // sent again, it enqueues nothing twice
            .POST(HttpRequest.BodyPublishers.ofString(new Gson().toJson(job)));
        if (System.getenv("LONGSHORE_KEY") != null) request.header("authorization", "Bearer " + System.getenv("LONGSHORE_KEY"));
        var response = HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofString());
        if (response.statusCode() >= 300) throw new IllegalStateException(response.body());
        var answer = new Gson().fromJson(response.body(), JsonObject.class);
        System.out.println(answer.get("id") + " " + answer.get("state").getAsString() + " " + answer.get("result").getAsString());
    }
}
