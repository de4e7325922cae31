// Writes an order and enqueues its job in one transaction: both are there, or neither. Needs: npm install pg
import pg from "pg";

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
try {
  await client.query("begin");
  await client.query("insert into orders (customer) values ($1)", ["Ann"]);
  const { rows } = await client.query<{ id: string }>(
    "select longshore.enqueue('greet', $1::json, queue => 'typescript', unique_key => $2) as id",
    [JSON.stringify({ name: "Ann" }), `order-${process.pid}`],
  );
  await client.query("commit");
  console.log(rows[0]?.id);
} finally {
  await client.end(); // what is not committed is rolled back
}
