# Writes an order and enqueues its job in one transaction: both are there, or neither. Needs the gem pg.
# With Rails: ActiveRecord::Base.transaction, and connection.exec_query for the second statement.
require "json"
require "pg"

connection = PG.connect(ENV.fetch("DATABASE_URL"))
connection.transaction do |transaction|
  transaction.exec_params("insert into orders (customer) values ($1)", ["Ann"])
  answer = transaction.exec_params(
    "select longshore.enqueue('greet', $1::json, queue => 'ruby', unique_key => $2)",
    [JSON.generate(name: "Ann"), "order-#{Process.pid}"]
  )
  puts answer.getvalue(0, 0)
end
