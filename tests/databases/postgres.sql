-- What tools/databases.py imports from PostgreSQL.
COMMENT ON DATABASE shop IS 'what is sold to whom';
CREATE TYPE mood AS ENUM ('glad', 'it''s sad');
CREATE SCHEMA "Sales Dept";
CREATE TABLE customers (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "FullName" character varying(80) NOT NULL,
    email text,
    mood mood,
    born date,
    tags text[],
    photo bytea,
    name_length integer GENERATED ALWAYS AS (length("FullName")) STORED
);
COMMENT ON TABLE customers IS 'who buys; it''s them';
COMMENT ON COLUMN customers."FullName" IS 'given and family name';
CREATE TABLE "Größen ""quoted""" (nr integer, art text, wert numeric(8,2), PRIMARY KEY (nr, art));
CREATE TABLE "Sales Dept".orders (
    nr integer,
    day date,
    customer integer REFERENCES customers,
    size_nr integer,
    size_art text,
    FOREIGN KEY (size_nr, size_art) REFERENCES "Größen ""quoted""",
    PRIMARY KEY (nr, day)
) PARTITION BY RANGE (day);
CREATE TABLE "Sales Dept".orders_2020 PARTITION OF "Sales Dept".orders
    FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE "Sales Dept".orders_2021 PARTITION OF "Sales Dept".orders
    FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE VIEW per_customer AS SELECT customer, count(*) AS orders FROM "Sales Dept".orders GROUP BY customer;
CREATE MATERIALIZED VIEW names AS SELECT "FullName" AS name FROM customers;
CREATE TABLE hidden (id integer PRIMARY KEY, customer_id integer REFERENCES customers);
CREATE TABLE partly (id integer PRIMARY KEY, open text, closed text);

INSERT INTO customers ("FullName", email, mood, born, tags, photo) VALUES
    ('Ann Ülm', 'ann@example.org', 'glad', '1980-01-02', '{a,b}', '\x00ff'),
    ('Bob', 'bob@example.org', NULL, NULL, NULL, NULL);
INSERT INTO "Größen ""quoted""" VALUES (1, 'klein', 1.5), (2, 'groß', 2.5);
INSERT INTO "Sales Dept".orders VALUES (1, '2020-05-06', 1, 1, 'klein'), (2, '2021-05-06', 1, 2, 'groß');
INSERT INTO partly VALUES (1, 'seen', 'unseen');
REFRESH MATERIALIZED VIEW names;

CREATE ROLE reader LOGIN PASSWORD 's3cr-et-pass';
GRANT USAGE ON SCHEMA "Sales Dept" TO reader;
GRANT SELECT ON customers, "Größen ""quoted""", "Sales Dept".orders, per_customer, names TO reader;
GRANT SELECT (id, open) ON partly TO reader;
