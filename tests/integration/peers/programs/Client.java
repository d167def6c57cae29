import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.Socket;
import java.net.URL;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;

/** Java's sockets are IPv6 sockets: an IPv4 destination is connected to as a mapped one. */
public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) new URL(arguments[0]).openConnection();
        try (InputStream body = connection.getInputStream()) {
            tell("fetched", body);
        }
        try (Socket socket = new Socket("127.0.0.1", Integer.parseInt(arguments[1]))) {
            if (!socket.getInetAddress().getHostAddress().equals("127.0.0.1")) {
                throw new IllegalStateException("peer is " + socket.getRemoteSocketAddress());
            }
            Thread sender = new Thread(() -> {
                try {
                    byte[] sent = new byte[1_000_000];
                    Arrays.fill(sent, (byte) 'x');
                    OutputStream out = socket.getOutputStream();
                    out.write(sent);
                    socket.shutdownOutput();
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            sender.start();
            tell("echoed", socket.getInputStream());
            sender.join();
        }
    }

    private static void tell(String word, InputStream in) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        byte[] buffer = new byte[65536];
        for (int count; (count = in.read(buffer)) > 0; ) {
            digest.update(buffer, 0, count);
        }
        System.out.println(word + " " + HexFormat.of().formatHex(digest.digest()));
    }
}
