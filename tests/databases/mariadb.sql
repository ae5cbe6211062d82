-- What tools/databases.py imports from MariaDB.
CREATE DATABASE shop CHARACTER SET utf8mb4;
CREATE DATABASE other CHARACTER SET utf8mb4;
USE shop;
CREATE TABLE customers (
    id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `FullName` varchar(80) NOT NULL COMMENT 'given and family name',
    email varchar(200),
    mood enum('glad', 'it''s sad') DEFAULT 'glad',
    born date,
    photo blob,
    name_length int GENERATED ALWAYS AS (char_length(`FullName`)) VIRTUAL
) COMMENT='who buys; it''s them';
CREATE TABLE `Größen ``quoted``` (nr int, art varchar(20), wert decimal(8,2), PRIMARY KEY (nr, art));
CREATE TABLE orders (
    nr int PRIMARY KEY,
    customer int unsigned,
    size_nr int,
    size_art varchar(20),
    FOREIGN KEY (customer) REFERENCES customers (id),
    FOREIGN KEY (size_nr, size_art) REFERENCES `Größen ``quoted``` (nr, art)
);
CREATE TABLE visits (day date, page varchar(50)) PARTITION BY RANGE (year(day))
    (PARTITION p0 VALUES LESS THAN (2021), PARTITION p1 VALUES LESS THAN MAXVALUE);
CREATE VIEW per_customer AS SELECT customer, count(*) AS orders FROM orders GROUP BY customer;
CREATE TABLE hidden (id int PRIMARY KEY, customer_id int unsigned);
CREATE TABLE partly (id int PRIMARY KEY, open varchar(20), closed varchar(20));
CREATE TABLE other.elsewhere (id int PRIMARY KEY);

INSERT INTO customers (`FullName`, email, mood, born, photo) VALUES
    ('Ann Ülm', 'ann@example.org', 'glad', '1980-01-02', x'00ff'), ('Bob', 'bob@example.org', NULL, NULL, NULL);
INSERT INTO `Größen ``quoted``` VALUES (1, 'klein', 1.5), (2, 'groß', 2.5);
INSERT INTO orders VALUES (1, 1, 1, 'klein'), (2, 1, 2, 'groß');
INSERT INTO visits VALUES ('2020-05-06', 'Start'), ('2021-05-06', 'start');
INSERT INTO partly VALUES (1, 'seen', 'unseen');

CREATE USER reader@'127.0.0.1' IDENTIFIED BY 's3cr-et-pass';
GRANT SELECT ON shop.customers TO reader@'127.0.0.1';
GRANT SELECT ON shop.`Größen ``quoted``` TO reader@'127.0.0.1';
GRANT SELECT ON shop.orders TO reader@'127.0.0.1';
GRANT SELECT ON shop.visits TO reader@'127.0.0.1';
GRANT SELECT ON shop.per_customer TO reader@'127.0.0.1';
GRANT SELECT (id, open) ON shop.partly TO reader@'127.0.0.1';
