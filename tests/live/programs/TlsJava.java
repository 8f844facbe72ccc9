// An HTTPS server and a client of it in one process: Java's own TLS, which
// httpsniff does not read. Asks until its stdin ends.
//
//     java TlsJava.java KEYSTORE PASSWORD
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.FileInputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class TlsJava {
    public static void main(String[] arguments) throws Exception {
        char[] password = arguments[1].toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (var file = new FileInputStream(arguments[0])) {
            store.load(file, password);
        }
        // It trusts itself.
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("self", store.getCertificate(store.aliases().nextElement()));
        var keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, password);
        var trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        var context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);

        var server = HttpsServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        server.createContext("/", exchange -> {
            byte[] body = "hello".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        var client = HttpClient.newBuilder().sslContext(context).build();
        var url = URI.create("https://localhost:" + server.getAddress().getPort() + "/");
        System.out.println("ready");
        do {
            var answer = client.send(HttpRequest.newBuilder(url).build(), BodyHandlers.ofString());
            if (!answer.body().equals("hello")) {
                System.exit(1);
            }
            Thread.sleep(100);
        } while (System.in.available() == 0);
        server.stop(0);
    }
}
