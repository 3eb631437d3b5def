import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

/** pgjdbc under TLS: the server's certificate is verified, a statement is answered, and another one cancelled. */
public class OverTls {
    public static void main(String[] arguments) throws Exception {
        URI url = new URI(System.getenv("URL"));
        String[] login = url.getUserInfo().split(":");
        Properties properties = new Properties();
        properties.setProperty("user", login[0]);
        properties.setProperty("password", login[1]);
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", System.getenv("CA"));
        String server = "jdbc:postgresql://localhost:" + url.getPort() + url.getPath();
        try (Connection connection = DriverManager.getConnection(server, properties);
             Statement statement = connection.createStatement()) {
            ResultSet row = statement.executeQuery("SELECT 40 + 2");
            row.next();
            System.out.println(row.getInt(1));
            statement.setQueryTimeout(1);
            try {
                statement.execute("SELECT pg_sleep(30)");
                System.out.println("slept");
            } catch (SQLException cancelled) {
                System.out.println(cancelled.getSQLState());
            }
        }
    }
}
