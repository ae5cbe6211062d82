-- A shop that sells garden plants: what the example asks questions about.
CREATE TABLE cities (
    city_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    country TEXT NOT NULL
);
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    full_name TEXT NOT NULL,
    city_id INTEGER NOT NULL REFERENCES cities (city_id),
    joined DATE NOT NULL
);
CREATE TABLE suppliers (
    supplier_id INTEGER PRIMARY KEY,
    company TEXT NOT NULL,
    city_id INTEGER NOT NULL REFERENCES cities (city_id)
);
CREATE TABLE plants (
    plant_id INTEGER PRIMARY KEY,
    common_name TEXT NOT NULL,
    latin_name TEXT NOT NULL,
    supplier_id INTEGER NOT NULL REFERENCES suppliers (supplier_id),
    unit_price REAL NOT NULL,
    min_temp_c INTEGER NOT NULL
);
CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (customer_id),
    ordered_on DATE NOT NULL,
    status TEXT NOT NULL
);
CREATE TABLE order_lines (
    order_id INTEGER NOT NULL REFERENCES orders (order_id),
    plant_id INTEGER NOT NULL REFERENCES plants (plant_id),
    qty INTEGER NOT NULL,
    PRIMARY KEY (order_id, plant_id)
);
CREATE TABLE waterings (
    plant_id INTEGER NOT NULL REFERENCES plants (plant_id),
    watered_at TIMESTAMP NOT NULL,
    litres REAL NOT NULL
);
CREATE TABLE staff (
    staff_id INTEGER PRIMARY KEY,
    full_name TEXT NOT NULL,
    role TEXT NOT NULL,
    hired DATE NOT NULL
);
CREATE TABLE shifts (
    staff_id INTEGER NOT NULL REFERENCES staff (staff_id),
    begins TIMESTAMP NOT NULL,
    hours REAL NOT NULL
);

INSERT INTO cities VALUES (1, 'Fremont', 'USA'), (2, 'Lisbon', 'Portugal'), (3, 'Oslo', 'Norway');
INSERT INTO customers VALUES
    (1, 'Ada Moreira', 2, '2021-03-04'), (2, 'Ben Okafor', 1, '2022-07-19'),
    (3, 'Chiyo Tanaka', 1, '2023-01-30'), (4, 'Dag Solberg', 3, '2024-05-11');
INSERT INTO suppliers VALUES (1, 'Green Hill Nursery', 1), (2, 'Fjord Seeds', 3);
INSERT INTO plants VALUES
    (1, 'lavender', 'Lavandula angustifolia', 1, 4.5, -15),
    (2, 'lemon tree', 'Citrus limon', 1, 39.0, 5),
    (3, 'heather', 'Calluna vulgaris', 2, 3.2, -30),
    (4, 'olive tree', 'Olea europaea', 1, 55.0, -7);
INSERT INTO orders VALUES
    (1, 1, '2024-02-03', 'shipped'), (2, 2, '2024-04-21', 'shipped'),
    (3, 3, '2024-04-22', 'shipped'), (4, 2, '2025-01-08', 'open'),
    (5, 4, '2025-03-15', 'cancelled');
INSERT INTO order_lines VALUES
    (1, 2, 1), (1, 1, 6), (2, 4, 2), (3, 1, 10), (3, 3, 5), (4, 2, 1), (5, 3, 20);
INSERT INTO waterings VALUES (1, '2025-04-01 08:00', 0.5), (2, '2025-04-01 08:05', 1.5);
INSERT INTO staff VALUES (1, 'Eva Lind', 'gardener', '2020-01-01'), (2, 'Finn Ray', 'cashier', '2022-06-01');
INSERT INTO shifts VALUES (1, '2025-04-01 07:00', 8), (2, '2025-04-01 09:00', 6);
