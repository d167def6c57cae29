import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/**
 * Asks an HTTP server: 1.1|2 HOST:PORT METHOD:PATH[:length|:chunked]... In the clear, 2 is asked for
 * by an upgrade in the first request.
 */
public class Ask {
    public static void main(String[] arguments) throws Exception {
        boolean two = arguments[0].equals("2");
        HttpClient client = HttpClient.newBuilder()
            .version(two ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .build();
        byte[] body = "x".repeat(3000).getBytes();
        for (int index = 2; index < arguments.length; index++) {
            String[] item = arguments[index].split(":");
            BodyPublisher publisher = BodyPublishers.noBody();
            if (item.length > 2) {
                publisher = item[2].equals("chunked")
                    ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))
                    : BodyPublishers.ofByteArray(body);
            }
            HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + arguments[1] + item[1]))
                .method(item[0], publisher)
                .timeout(Duration.ofSeconds(30))
                .build();
            System.out.println("status " + client.send(request, BodyHandlers.ofByteArray()).statusCode());
        }
        // Its threads would keep the program.
        System.exit(0);
    }
}
