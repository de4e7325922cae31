<?php
// Writes an order and enqueues its job in one transaction: both are there, or neither. Needs the extension pdo_pgsql.
// With Laravel or Doctrine: the same two statements within their transaction.
$url = getenv('DATABASE_URL'); // such as pgsql:host=127.0.0.1;dbname=demo;user=demo;password=demo
$database = new PDO($url, null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$database->beginTransaction();
try {
    $database->prepare('insert into orders (customer) values (?)')->execute(['Ann']);
    $enqueue = $database->prepare("select longshore.enqueue('greet', ?::json, queue => 'php', unique_key => ?)");
    $enqueue->execute([json_encode(['name' => 'Ann']), 'order-' . getmypid()]);
    $id = $enqueue->fetchColumn();
    $database->commit();
} catch (Throwable $error) {
    $database->rollBack();
    throw $error;
}
echo "$id\n";
