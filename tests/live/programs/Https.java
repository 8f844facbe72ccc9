// Fetches each URL with Java's own TLS, trusting every certificate.
import java.io.InputStream;
import java.net.URL;
import java.security.cert.X509Certificate;
import javax.net.ssl.*;

public class Https {
    static class Trusting implements X509TrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String kind) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    }

    public static void main(String[] urls) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Trusting()}, null);
        HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        HttpsURLConnection.setDefaultHostnameVerifier((name, session) -> true);
        for (String url : urls) {
            try (InputStream in = new URL(url).openConnection().getInputStream()) {
                if (in.readAllBytes().length != 35) throw new IllegalStateException(url);
            }
        }
    }
}
