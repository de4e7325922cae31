// Writes an order and enqueues its job in one transaction: both are there, or neither.
// With pgx it is the same: import _ "github.com/jackc/pgx/v5/stdlib", and open "pgx".
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"os"

	_ "github.com/lib/pq"
)

func order(db *sql.DB, customer string) (id int64, err error) {
	transaction, err := db.Begin()
	if err != nil {
		return 0, err
	}
	defer transaction.Rollback() // does nothing after the commit
	if _, err := transaction.Exec("insert into orders (customer) values ($1)", customer); err != nil {
		return 0, err
	}
	args, err := json.Marshal(map[string]any{"name": customer})
	if err != nil {
		return 0, err
	}
	enqueue := "select longshore.enqueue('greet', $1::json, queue => 'go', unique_key => $2)"
	if err := transaction.QueryRow(enqueue, string(args), fmt.Sprintf("order-%d", os.Getpid())).Scan(&id); err != nil {
		return 0, err
	}
	return id, transaction.Commit()
}

func main() {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	id, err := order(db, "Ann")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id)
}
