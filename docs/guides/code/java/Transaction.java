// Writes an order and enqueues its job in one transaction: both are there, or neither. With Spring: @Transactional and JdbcTemplate.
import java.sql.DriverManager;
import java.util.Map;

import com.google.gson.Gson;

class Transaction {
    public static void main(String[] arguments) throws Exception {
        try (var connection = DriverManager.getConnection(System.getenv("DATABASE_URL"))) { // jdbc:postgresql://…
            connection.setAutoCommit(false);
            try (var insert = connection.prepareStatement("insert into orders (customer) values (?)")) {
                insert.setString(1, "Ann");
                insert.executeUpdate();
            }
            try (var enqueue = connection.prepareStatement("select longshore.enqueue('greet', ?::json, queue => 'java', unique_key => ?)")) {
                enqueue.setString(1, new Gson().toJson(Map.of("name", "Ann")));
                enqueue.setString(2, "order-" + ProcessHandle.current().pid());
                var rows = enqueue.executeQuery();
                rows.next();
                System.out.println(rows.getLong(1));
            }
            connection.commit(); // closed before, it rolls back
        }
    }
}
