import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;

/** A ward's day through pgjdbc: batches, server-prepared statements, fetch sizes, generated keys, metadata. */
public class WithJdbc {
    private static final String MARK = System.getenv("MARK");
    private static final String INSERT = "INSERT INTO patients (id, name, ssn, mrn, born, seen, visits, account, grade, "
        + "insured, token, balance, photo, notes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

    private interface Part {
        void run(Connection connection) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = connect()) {
            part("rows", connection, WithJdbc::rows);
            part("served", connection, WithJdbc::preparedAfterTheFifthUse);
            part("batches", connection, WithJdbc::batches);
            part("keys", connection, WithJdbc::generatedKeys);
            part("fetch size", connection, WithJdbc::fetchSize);
            part("transactions", connection, WithJdbc::transactions);
            part("errors", connection, WithJdbc::errors);
            part("metadata", connection, WithJdbc::metadata);
            part("updatable", connection, WithJdbc::updatableResultSets);
            part("arrays", connection, WithJdbc::arrays);
            part("copies", connection, WithJdbc::copies);
        }
        try (Connection connection = connect("preferQueryMode", "simple")) {
            part("simple", connection, WithJdbc::overTheSimpleProtocol);
        }
        try (Connection connection = connect("reWriteBatchedInserts", "true", "autosave", "always")) {
            part("rewritten", connection, WithJdbc::rewrittenBatches);
        }
    }

    private static Connection connect(String... settings) throws Exception {
        URI url = new URI(System.getenv("URL"));
        Properties properties = new Properties();
        String[] login = url.getUserInfo().split(":");
        properties.setProperty("user", login[0]);
        properties.setProperty("password", login[1]);
        properties.setProperty("ApplicationName", "ward");
        for (int at = 0; at < settings.length; at += 2) {
            properties.setProperty(settings[at], settings[at + 1]);
        }
        String query = url.getQuery() == null ? "" : "?" + url.getQuery();
        return DriverManager.getConnection("jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath() + query, properties);
    }

    private static void part(String name, Connection connection, Part part) throws Exception {
        try {
            part.run(connection);
        } catch (SQLException error) {
            System.out.println("FAILED " + name + " " + error.getSQLState() + " " + error.getMessage());
            if (!connection.getAutoCommit()) {
                connection.rollback();
                connection.setAutoCommit(true);
            }
        }
    }

    private static void show(String label, ResultSet rows) throws SQLException {
        try (rows) {
            int columns = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                StringBuilder line = new StringBuilder(label);
                for (int column = 1; column <= columns; column++) {
                    Object value = rows.getObject(column);
                    line.append(" | ").append(value instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : value);
                }
                System.out.println(line);
            }
        }
    }

    private static void show(Connection connection, String label, String query, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            show(label, statement.executeQuery());
        }
    }

    private static void bind(PreparedStatement statement, int number) throws SQLException {
        PGobject notes = new PGobject();
        notes.setType("jsonb");
        notes.setValue("{\"n\": " + number + ", \"who\": \"" + MARK + "\"}");
        statement.setInt(1, number);
        statement.setString(2, number % 5 == 0 ? null : MARK + " Name " + number + " 'quoted' \\ äöü");
        statement.setString(3, MARK + "-" + number);
        statement.setObject(4, "m" + number, Types.VARCHAR);
        statement.setObject(5, LocalDate.of(1950, 1, 1).plusDays(number * 37L));
        statement.setObject(6, OffsetDateTime.of(2024, 2, 29, 13, 14, 15, number * 1000, ZoneOffset.ofHours(2)));
        statement.setInt(7, number % 7);
        statement.setLong(8, (long) number << 40);
        statement.setShort(9, (short) -number);
        statement.setBoolean(10, number % 2 == 0);
        statement.setObject(11, new UUID(number, number));
        statement.setBigDecimal(12, new BigDecimal(number).divide(new BigDecimal(4)));
        statement.setBytes(13, new byte[] {0, -1, (byte) number});
        statement.setObject(14, notes);
    }

    private static void rows(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE wards (id serial PRIMARY KEY, name text UNIQUE, floor int DEFAULT 0); "
                + "CREATE TABLE patients (id int PRIMARY KEY, ward int REFERENCES wards, name text, ssn text UNIQUE, mrn varchar(12), "
                + "born date, seen timestamptz, visits int4, account int8, grade int2, insured bool, token uuid, balance numeric(12,2), "
                + "photo bytea, notes jsonb);"
                + "CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, patient_ssn text NOT NULL, reason text, cost int)");
        }
        try (PreparedStatement statement = connection.prepareStatement(INSERT)) {
            for (int number = 1; number < 9; number++) {
                bind(statement, number);
                System.out.println(statement.executeUpdate());
            }
            // As older programs give them: a day and a moment of the local time zone, and values of no type.
            bind(statement, 9);
            statement.setNull(2, Types.VARCHAR);
            statement.setDate(5, Date.valueOf("1999-12-31"));
            statement.setTimestamp(6, Timestamp.valueOf("2024-02-29 13:14:15.5"));
            statement.setNull(7, Types.INTEGER);
            statement.setObject(14, "[1]", Types.OTHER);
            statement.executeUpdate();
        }
        show(connection, "all", "SELECT * FROM patients ORDER BY id");
        show(connection, "ssn", "SELECT id, name FROM patients WHERE ssn = ?", MARK + "-3");
        show(connection, "born", "SELECT id, born FROM patients WHERE born = ?", LocalDate.of(1950, 5, 29));
        show(connection, "date", "SELECT id, born FROM patients WHERE born = ?", Date.valueOf("1999-12-31"));
        show(connection, "escape", "SELECT id, born FROM patients WHERE born = {d '1999-12-31'}");
        show(connection, "numbers", "SELECT id FROM patients WHERE visits = ? OR account = ? OR balance = ? ORDER BY id", 3, 4L << 40, new BigDecimal("1.5"));
        show(connection, "token", "SELECT id FROM patients WHERE token = ?", new UUID(5, 5));
    }

    private static void preparedAfterTheFifthUse(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, name, born, seen, balance, notes FROM patients WHERE ssn = ?")) {
            for (int number = 1; number < 9; number++) {
                statement.setString(1, MARK + "-" + number);
                show("use " + number + " " + ((org.postgresql.PGStatement) statement).isUseServerPrepare(), statement.executeQuery());
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("UPDATE patients SET name = ?, visits = visits WHERE ssn = ?")) {
            for (int number = 1; number < 9; number++) {
                statement.setString(1, MARK + " updated " + number);
                statement.setString(2, MARK + "-" + number);
                System.out.println(statement.executeUpdate());
            }
        }
    }

    private static void batches(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(INSERT)) {
            for (int number = 20; number < 60; number++) {
                bind(statement, number);
                statement.addBatch();
            }
            System.out.println(Arrays.toString(statement.executeBatch()));
        }
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("INSERT INTO visits (patient_ssn, reason) VALUES ('" + MARK + "-1', '" + MARK + " one')");
            statement.addBatch("UPDATE patients SET mrn = 'batched' WHERE ssn = '" + MARK + "-2'");
            System.out.println(Arrays.toString(statement.executeBatch()));
        }
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO patients (id, ssn) VALUES (?, ?)")) {
            for (int number : new int[] {70, 71, 20, 72}) {
                statement.setInt(1, number);
                statement.setString(2, MARK + "-" + number);
                statement.addBatch();
            }
            statement.executeBatch();
        } catch (BatchUpdateException error) {
            System.out.println(error.getSQLState() + " " + Arrays.toString(error.getUpdateCounts()));
        }
        connection.rollback();
        connection.setAutoCommit(true);
        show(connection, "count", "SELECT count(*), count(name) FROM patients");
    }

    private static void rewrittenBatches(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO visits (patient_ssn, reason, cost) VALUES (?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int number = 0; number < 45; number++) {
                statement.setString(1, MARK + "-" + number % 3);
                statement.setString(2, MARK + " reason " + number);
                statement.setInt(3, number);
                statement.addBatch();
            }
            System.out.println(Arrays.toString(statement.executeBatch()));
        }
        try {
            show(connection, "failing", "SELECT 1 / cost FROM visits WHERE patient_ssn = ?", MARK + "-0");
        } catch (SQLException error) {
            System.out.println(error.getSQLState());
        }
        // The transaction goes on: the driver has set a savepoint.
        show(connection, "rewritten", "SELECT id, patient_ssn, reason FROM visits WHERE cost > 40 ORDER BY id");
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void generatedKeys(Connection connection) throws SQLException {
        String insert = "INSERT INTO visits (patient_ssn, reason) VALUES (?, ?)";
        try (PreparedStatement all = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS);
                PreparedStatement one = connection.prepareStatement(insert, new String[] {"id", "reason"})) {
            for (PreparedStatement statement : new PreparedStatement[] {all, one}) {
                statement.setString(1, MARK + "-1");
                statement.setString(2, MARK + " with a key");
                statement.executeUpdate();
                show("key", statement.getGeneratedKeys());
            }
        }
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("INSERT INTO wards (name) VALUES ('Cardiology'), ('Maternity')", Statement.RETURN_GENERATED_KEYS);
            show("key", statement.getGeneratedKeys());
        }
    }

    private static void fetchSize(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, ssn, name, seen FROM patients WHERE id > ? ORDER BY id")) {
            statement.setFetchSize(7);
            statement.setInt(1, 25);
            try (ResultSet outer = statement.executeQuery()) {
                while (outer.next()) {
                    if (outer.getInt(1) % 10 == 0) {
                        show("between fetches", connection, outer.getString(2));
                    }
                    System.out.println("fetched " + outer.getInt(1) + " " + outer.getString("name") + " " + outer.getObject("seen", OffsetDateTime.class));
                }
            }
            statement.setMaxRows(3);
            show("at most", statement.executeQuery());
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void show(String label, Connection connection, String ssn) throws SQLException {
        show(connection, label, "SELECT id FROM patients WHERE ssn = ?", ssn);
    }

    private static void transactions(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("UPDATE patients SET name = '" + MARK + " kept' WHERE ssn = '" + MARK + "-1'");
            Savepoint here = connection.setSavepoint("here");
            statement.executeUpdate("DELETE FROM patients WHERE ssn = '" + MARK + "-2'");
            connection.rollback(here);
            connection.commit();
            statement.executeUpdate("DELETE FROM patients WHERE ssn = '" + MARK + "-3'");
            connection.rollback();
        }
        show(connection, "kept", "SELECT id, name FROM patients WHERE ssn IN (?, ?, ?) ORDER BY id", MARK + "-1", MARK + "-2", MARK + "-3");
        connection.commit();
        connection.setAutoCommit(true);
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        connection.setReadOnly(true);
        connection.setAutoCommit(false);
        show(connection, "read only", "SELECT name FROM patients WHERE ssn = ?", MARK + "-4");
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("DELETE FROM patients WHERE ssn = '" + MARK + "-4'");
        } catch (SQLException error) {
            System.out.println(error.getSQLState());
        }
        connection.rollback();
        connection.setAutoCommit(true);
        connection.setReadOnly(false);
        System.out.println(connection.getTransactionIsolation() + " " + connection.isValid(2) + " " + connection.getSchema());
    }

    private static void errors(Connection connection) throws SQLException {
        Object[][] cases = {
            {"INSERT INTO patients (id, ssn) VALUES (?, ?)", 900, MARK + "-4"},
            {"INSERT INTO patients (id, mrn) VALUES (?, ?)", 900, MARK + " longer than twelve"},
            {"INSERT INTO visits (cost, reason) VALUES (?, ?)", 1, MARK},
            {"UPDATE patients SET visits = ? WHERE ssn = ?", "no number", MARK + "-4"},
            {"UPDATE patients SET nothing = ? WHERE ssn = ?", 1, MARK + "-4"},
        };
        for (Object[] one : cases) {
            try (PreparedStatement statement = connection.prepareStatement((String) one[0])) {
                statement.setObject(1, one[1]);
                statement.setObject(2, one[2]);
                System.out.println(statement.executeUpdate());
            } catch (SQLException error) {
                System.out.println(error.getSQLState());
            }
        }
        show(connection, "afterwards", "SELECT id FROM patients WHERE ssn = ?", MARK + "-4");
    }

    private static void metadata(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT p.*, upper(w.name) AS loud FROM patients p LEFT JOIN wards w ON w.id = p.ward WHERE ssn = ?")) {
            System.out.println(statement.getParameterMetaData().getParameterTypeName(1));
            ResultSetMetaData about = statement.getMetaData();
            for (int at = 1; at <= about.getColumnCount(); at++) {
                System.out.println(about.getColumnName(at) + " " + about.getColumnTypeName(at) + " " + about.getColumnClassName(at) + " "
                    + about.getPrecision(at) + " " + about.getScale(at) + " " + about.isNullable(at) + " " + about.getTableName(at));
            }
        }
        try (ResultSet tables = connection.getMetaData().getTables(null, "public", "%", new String[] {"TABLE"})) {
            while (tables.next()) {
                System.out.println(tables.getString("TABLE_NAME"));
            }
        }
        try (ResultSet columns = connection.getMetaData().getColumns(null, "public", "wards", null)) {
            while (columns.next()) {
                System.out.println(columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME") + " " + columns.getString("COLUMN_DEF"));
            }
        }
        // Of protected columns the catalog says bytea: only the names are as they would be.
        try (ResultSet columns = connection.getMetaData().getColumns(null, "public", "patients", null)) {
            while (columns.next()) {
                System.out.println(columns.getString("COLUMN_NAME") + " " + columns.getString("IS_NULLABLE"));
            }
        }
        try (ResultSet keys = connection.getMetaData().getPrimaryKeys(null, "public", "patients")) {
            while (keys.next()) {
                System.out.println(keys.getString("COLUMN_NAME") + " " + keys.getString("PK_NAME"));
            }
        }
        try (ResultSet indexes = connection.getMetaData().getIndexInfo(null, "public", "patients", true, false)) {
            while (indexes.next()) {
                System.out.println(indexes.getString("INDEX_NAME") + " " + indexes.getString("COLUMN_NAME"));
            }
        }
    }

    private static void updatableResultSets(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, name, visits, born FROM patients WHERE ssn = ?", ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            statement.setString(1, MARK + "-6");
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                rows.updateString("name", MARK + " in place");
                rows.updateInt("visits", 77);
                rows.updateDate("born", Date.valueOf("2000-01-01"));
                rows.updateRow();
                rows.moveToInsertRow();
                rows.updateInt("id", 80);
                rows.updateString("name", MARK + " inserted");
                rows.insertRow();
            }
        }
        show(connection, "updated", "SELECT id, name, visits, born FROM patients WHERE id IN (6, 80) ORDER BY id");
    }

    private static void arrays(Connection connection) throws SQLException {
        String[] wanted = {MARK + "-1", MARK + "-20", MARK + "-99"};
        show(connection, "any", "SELECT id, name FROM patients WHERE ssn = ANY (?) ORDER BY id", connection.createArrayOf("text", wanted));
        show(connection, "any", "SELECT id, name FROM patients WHERE ssn = ANY (?) ORDER BY id", connection.createArrayOf("varchar", wanted));
        show(connection, "all", "SELECT id FROM patients WHERE visits <> ALL (?) AND id < 20 ORDER BY id", connection.createArrayOf("int4", new Integer[] {1, 2}));
        show(connection, "any", "SELECT id FROM patients WHERE token = ANY (?)", connection.createArrayOf("uuid", new UUID[] {new UUID(5, 5)}));
    }

    private static void copies(Connection connection) throws Exception {
        CopyManager copies = connection.unwrap(PGConnection.class).getCopyAPI();
        String lines = "200," + MARK + "-200,\"" + MARK + ", \"\"quoted\"\"\"\n201," + MARK + "-201,\n";
        System.out.println(copies.copyIn("COPY patients (id, ssn, name) FROM STDIN WITH (FORMAT csv)", new StringReader(lines)));
        StringWriter out = new StringWriter();
        System.out.println(copies.copyOut("COPY (SELECT id, ssn, name FROM patients WHERE id >= 200 ORDER BY id) TO STDOUT", out));
        System.out.println(out);
    }

    private static void overTheSimpleProtocol(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(INSERT)) {
            bind(statement, 300);
            // This mode of the driver has no way to write bytes.
            statement.setNull(13, Types.BINARY);
            System.out.println(statement.executeUpdate());
        }
        show(connection, "simple", "SELECT * FROM patients WHERE ssn = ?", MARK + "-300");
        show(connection, "simple", "SELECT id FROM patients WHERE account = ? AND born = ? AND balance = ?", 300L << 40, LocalDate.of(1950, 1, 1).plusDays(300 * 37L), new BigDecimal(75));
        try (Statement statement = connection.createStatement()) {
            System.out.println(statement.execute("SELECT name FROM patients WHERE ssn = '" + MARK + "-300'; DELETE FROM patients WHERE ssn = '" + MARK + "-300'"));
            show("first", statement.getResultSet());
            System.out.println(statement.getMoreResults() + " " + statement.getUpdateCount());
        }
    }
}
