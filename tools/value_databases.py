#!/usr/bin/env python3
"""SQLite databases with cells, and questions that name values and not the columns they are of.

The same seed makes the same files. Half of the databases are for choosing settings on (`choose`),
half for reporting (`report`). Used by `make eval-values`; docs/schemas.md has what comes out.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

SEED = 7

TOWNS = (
    "Fremont,Oakland,Visalia,Modesto,Fresno,Salinas,Stockton,Santa Cruz,San Leandro,Redding,Chico,Merced,Turlock,"
    "Petaluma,Napa,Eureka,Ukiah,Gilroy,Hollister,Los Gatos,Palo Alto,Mountain View,Half Moon Bay,Walnut Creek"
).split(",")
COUNTIES = "Alameda,Tulare,Stanislaus,Monterey,Shasta,Butte,Sonoma,Humboldt,Mendocino,San Benito,Santa Clara".split(",")
COUNTRIES = "Portugal,Norway,Kenya,Peru,Vietnam,Canada,Morocco,Estonia,Chile,Iceland,Ghana,Nepal,Uruguay".split(",")
FIRST = (
    "Amara,Bruno,Celia,Dmitri,Elena,Farid,Greta,Hugo,Ines,Jonas,Kalinda,Luca,Marta,Nils,Olga,Pedro,Quentin,Rosa,"
    "Selim,Tamara,Ugo,Vera,Wanda,Xenia,Yusuf,Zora"
).split(",")
LAST = (
    "Abbott,Bianchi,Castellano,Dvorak,Eriksen,Fischer,Gonzaga,Halloran,Ivanova,Jensen,Kowalski,Lindqvist,Moreau,"
    "Nakamura,Okafor,Petrov,Quiroga,Rossi,Silva,Tanaka,Ulrich,Vasquez,Whitfield,Yamada,Zeller"
).split(",")
DEPARTMENTS = "Cardiology,Oncology,Radiology,Pediatrics,Neurology,Orthopedics,Emergency,Dermatology,Psychiatry".split(",")
CONDITIONS = "asthma,diabetes,pneumonia,hypertension,migraine,anemia,bronchitis,arthritis,appendicitis,concussion".split(",")
DRUGS = "Amoxicillin,Ibuprofen,Metformin,Lisinopril,Salbutamol,Sumatriptan,Warfarin,Omeprazole".split(",")
GENRES = "bossa nova,techno,bluegrass,flamenco,dub,gospel,ska,chamber music,afrobeat,shoegaze".split(",")
LABELS = "Blue Heron,Night Train,Paper Moon,Northern Lights,Copper Kettle,Silver Birch".split(",")
VENUES = "Old Mill,Royal Arcade,Harbour Stage,Lantern Room,Crystal Palace,Station Hall".split(",")
PRODUCTS = (
    "espresso machine,desk lamp,hiking boots,rain jacket,yoga mat,garden hose,bicycle pump,soup kettle,wool blanket,"
    "camping stove,chess set,watering can,cast iron pan,bread knife"
).split(",")
BRANDS = "Alpina,Brightwell,Corvina,Dunmore,Everly,Fjordland,Gastner".split(",")
CATEGORIES = "outdoor gear,kitchenware,lighting,fitness,gardening,board games".split(",")
CARRIERS = "Swiftline,Postello,Quickhaul,Meridian Freight".split(",")
SUBJECTS = "astronomy,botany,medieval history,linguistics,naval warfare,cooking,cryptography,architecture".split(",")
PUBLISHERS = "Harrow and Pike,Lighthouse Press,Seven Rivers,Tessellate Books,Old Quay".split(",")
AIRCRAFT = "Airbus A320,Boeing 737,Embraer 190,ATR 72,Bombardier Q400".split(",")
AIRLINES = "Aurora Air,Condor Wings,Polar Express,Sierra Jet,Tropicana".split(",")
SPECIES = "snow leopard,red panda,harpy eagle,pygmy hippo,axolotl,okapi,kakapo,saola".split(",")
FOODS = "bamboo,krill,acorns,figs,earthworms,mackerel".split(",")


class Question(NamedTuple):
    text: str
    sql: str


class Made(NamedTuple):
    name: str
    part: str
    schema: str
    fill: Callable[[random.Random, sqlite3.Connection], None]
    ask: Callable[[random.Random], List[Question]]


def person(draw: random.Random) -> str:
    return f"{draw.choice(FIRST)} {draw.choice(LAST)}"


def rows(connection: sqlite3.Connection, table: str, many: Sequence[Tuple[Any, ...]]) -> None:
    marks = ",".join("?" * len(many[0]))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", many)


def asked(draw: random.Random, templates: Sequence[Tuple[str, str, Sequence[str]]]) -> List[Question]:
    """A few questions of each template; some values in lower case, as people type them."""
    questions = []
    for text, sql, values in templates:
        for value in draw.sample(list(values), min(4, len(values))):
            typed = value.lower() if draw.random() < 0.3 else value
            questions.append(Question(text.format(typed), sql.format(value.replace("'", "''"))))
    return questions


DISTRICTS = [f"{town} Unified" for town in TOWNS[:12]]


def fill_schools(draw: random.Random, c: sqlite3.Connection) -> None:
    rows(c, "districts", [(n, name, COUNTIES[n % len(COUNTIES)], draw.randint(5, 80)) for n, name in enumerate(DISTRICTS)])
    kinds = ["charter", "magnet", "continuation", "elementary"]
    rows(c, "schools", [
        (n, f"{draw.choice(LAST)} {draw.choice(['High', 'Academy', 'Middle'])}", draw.randrange(12), draw.choice(TOWNS),
         draw.choice(kinds), draw.randint(90, 2400)) for n in range(300)
    ])  # fmt: skip
    rows(c, "staff", [(n, person(draw), draw.randrange(300), draw.choice(["principal", "counselor", "librarian", "nurse"]),
                       draw.randint(40000, 120000)) for n in range(900)])  # fmt: skip
    rows(c, "results", [(n, draw.randrange(300), draw.choice(SUBJECTS), draw.randint(200, 800)) for n in range(900)])


def ask_schools(draw: random.Random) -> List[Question]:
    return asked(draw, [
        ("How many pupils are enrolled in {}?", "SELECT sum(pupils) FROM schools WHERE town = '{}'", TOWNS),
        ("What did {} cost on average?", "SELECT avg(pay) FROM staff WHERE role = '{}'", ["counselor", "librarian", "nurse"]),
        ("Name the schools run by {}.", "SELECT s.name FROM schools s JOIN districts d ON s.district_id = d.id WHERE d.name = '{}'", DISTRICTS),
        ("How large is the largest one that is {}?", "SELECT max(pupils) FROM schools WHERE kind = '{}'", ["charter", "magnet", "continuation"]),
        ("Best result in {}?", "SELECT max(points) FROM results WHERE subject = '{}'", SUBJECTS),
        ("How many buildings does {} look after?", "SELECT sites FROM districts WHERE county = '{}'", COUNTIES),
    ])  # fmt: skip


def fill_hospital(draw: random.Random, c: sqlite3.Connection) -> None:
    rows(c, "unit", [(n, name, draw.randint(4, 60)) for n, name in enumerate(DEPARTMENTS)])
    rows(c, "physician", [(n, person(draw), draw.randrange(9), draw.choice(COUNTRIES)) for n in range(120)])
    rows(c, "patient", [(n, person(draw), draw.choice(TOWNS), draw.randint(1, 95)) for n in range(1500)])
    rows(c, "stay", [(n, draw.randrange(1500), draw.randrange(120), draw.choice(CONDITIONS), draw.randint(1, 30))
                     for n in range(3000)])  # fmt: skip
    rows(c, "prescription", [(n, draw.randrange(3000), draw.choice(DRUGS), draw.choice(["oral", "intravenous", "inhaled"]),
                              draw.randint(1, 4)) for n in range(3000)])  # fmt: skip


def ask_hospital(draw: random.Random) -> List[Question]:
    return asked(draw, [
        ("How many beds are there in {}?", "SELECT beds FROM unit WHERE name = '{}'", DEPARTMENTS),
        ("How long do people with {} stay on average?", "SELECT avg(days) FROM stay WHERE reason = '{}'", CONDITIONS),
        ("What is the mean age of those from {}?", "SELECT avg(age) FROM patient WHERE residence = '{}'", TOWNS),
        ("How many doses of {} were given?", "SELECT sum(doses) FROM prescription WHERE agent = '{}'", DRUGS),
        ("Which doctors come from {}?", "SELECT full_name FROM physician WHERE origin = '{}'", COUNTRIES),
        ("How often is it {}?", "SELECT count(*) FROM prescription WHERE route = '{}'", ["oral", "intravenous", "inhaled"]),
    ])  # fmt: skip


def fill_music(draw: random.Random, c: sqlite3.Connection) -> None:
    rows(c, "acts", [(n, f"The {draw.choice(LAST)} {draw.choice(['Trio', 'Quartet', 'Ensemble'])}", draw.choice(GENRES),
                      draw.choice(COUNTRIES)) for n in range(200)])  # fmt: skip
    rows(c, "records", [(n, f"{draw.choice(FIRST)} at {draw.choice(TOWNS)}", draw.randrange(200), draw.choice(LABELS),
                         draw.randint(1960, 2020)) for n in range(800)])  # fmt: skip
    rows(c, "shows", [(n, draw.randrange(200), draw.choice(VENUES), draw.choice(TOWNS), draw.randint(100, 9000)) for n in range(900)])
    rows(c, "awards", [(n, draw.randrange(800), draw.choice(["Golden Reed", "Silver Bow", "Amber Disc"]), draw.randint(1980, 2020))
                       for n in range(90)])  # fmt: skip


def ask_music(draw: random.Random) -> List[Question]:
    return asked(draw, [
        ("How many bands play {}?", "SELECT count(*) FROM acts WHERE style = '{}'", GENRES),
        ("Which albums did {} put out?", "SELECT title FROM records WHERE imprint = '{}'", LABELS),
        ("How many people came to {} in all?", "SELECT sum(audience) FROM shows WHERE place = '{}'", VENUES),
        ("Who performed in {}?", "SELECT a.name FROM acts a JOIN shows s ON s.act_id = a.id WHERE s.town = '{}'", TOWNS),
        ("What won the {}?", "SELECT r.title FROM records r JOIN awards w ON w.record_id = r.id WHERE w.prize = '{}'",
         ["Golden Reed", "Silver Bow", "Amber Disc"]),
        ("Bands from {}", "SELECT name FROM acts WHERE home = '{}'", COUNTRIES),
    ])  # fmt: skip


def fill_shop(draw: random.Random, c: sqlite3.Connection) -> None:
    rows(c, "item", [(n, f"{draw.choice(BRANDS)} {draw.choice(PRODUCTS)}", draw.choice(CATEGORIES), draw.randint(5, 400))
                     for n in range(400)])  # fmt: skip
    rows(c, "client", [(n, person(draw), draw.choice(TOWNS), draw.choice(["gold", "silver", "bronze"])) for n in range(1500)])
    rows(c, "purchase", [(n, draw.randrange(1500), draw.choice(["pending", "shipped", "returned", "cancelled"]),
                          draw.choice(CARRIERS), f"20{draw.randint(10, 24)}-0{draw.randint(1, 9)}-11") for n in range(4000)])  # fmt: skip
    rows(c, "line", [(n, draw.randrange(4000), draw.randrange(400), draw.randint(1, 9)) for n in range(6000)])
    rows(c, "depot", [(n, town, draw.choice(COUNTIES), draw.randint(100, 9000)) for n, town in enumerate(TOWNS[:10])])


def ask_shop(draw: random.Random) -> List[Question]:
    items = [f"{brand} {product}" for brand in BRANDS[:3] for product in PRODUCTS[:4]]
    return asked(draw, [
        ("How much is the {}?", "SELECT price FROM item WHERE title = '{}'", items),
        ("What is the dearest of the {}?", "SELECT max(price) FROM item WHERE family = '{}'", CATEGORIES),
        ("How many were {}?", "SELECT count(*) FROM purchase WHERE state = '{}'", ["pending", "shipped", "returned", "cancelled"]),
        ("How many parcels did {} carry?", "SELECT count(*) FROM purchase WHERE carried_by = '{}'", CARRIERS),
        ("Who lives in {}?", "SELECT full_name FROM client WHERE place = '{}'", TOWNS),
        ("How many {} members are there?", "SELECT count(*) FROM client WHERE tier = '{}'", ["gold", "silver", "bronze"]),
        ("How much room is there in {} county?", "SELECT sum(capacity) FROM depot WHERE region = '{}'", COUNTIES),
    ])  # fmt: skip


def fill_library(draw: random.Random, c: sqlite3.Connection) -> None:
    rows(c, "work", [(n, f"{draw.choice(['A History of', 'Notes on', 'The Art of'])} {draw.choice(SUBJECTS)}", person(draw),
                      draw.choice(SUBJECTS), draw.choice(PUBLISHERS), draw.randint(60, 900)) for n in range(900)])  # fmt: skip
    rows(c, "copy", [(n, draw.randrange(900), draw.randrange(8), draw.choice(["worn", "mint", "damaged"])) for n in range(2000)])
    rows(c, "branch", [(n, f"{TOWNS[n]} {draw.choice(['Central', 'Riverside'])}", TOWNS[n], draw.randint(1, 40)) for n in range(8)])
    rows(c, "reader", [(n, person(draw), draw.choice(TOWNS), draw.choice(["student", "pensioner", "regular"])) for n in range(1200)])
    rows(c, "loan", [(n, draw.randrange(2000), draw.randrange(1200), draw.randint(1, 60)) for n in range(4000)])


def ask_library(draw: random.Random) -> List[Question]:
    return asked(draw, [
        ("How many pages does the longest book on {} have?", "SELECT max(pages) FROM work WHERE topic = '{}'", SUBJECTS),
        ("Which titles are by {}?", "SELECT title FROM work WHERE house = '{}'", PUBLISHERS),
        ("How many are {}?", "SELECT count(*) FROM copy WHERE condition = '{}'", ["worn", "mint", "damaged"]),
        ("How many shelves are there in {}?", "SELECT shelves FROM branch WHERE locality = '{}'", TOWNS[:8]),
        ("How many people from {} read here?", "SELECT count(*) FROM reader WHERE home = '{}'", TOWNS),
        ("For how long does a {} keep a book?", "SELECT avg(l.days) FROM loan l JOIN reader r ON l.reader_id = r.id WHERE r.status = '{}'",
         ["student", "pensioner", "regular"]),
    ])  # fmt: skip


def fill_travel(draw: random.Random, c: sqlite3.Connection) -> None:
    rows(c, "carrier", [(n, name, COUNTRIES[n]) for n, name in enumerate(AIRLINES)])
    rows(c, "plane", [(n, draw.randrange(5), draw.choice(AIRCRAFT), draw.randint(40, 220)) for n in range(90)])
    rows(c, "trip", [(n, draw.randrange(90), draw.choice(TOWNS), draw.choice(TOWNS), draw.choice(["delayed", "diverted", "on time"]),
                      draw.randint(30, 400)) for n in range(3000)])  # fmt: skip
    rows(c, "traveller", [(n, person(draw), draw.choice(COUNTRIES), draw.choice(["vegan", "halal", "kosher"])) for n in range(1500)])
    rows(c, "seat", [(n, draw.randrange(3000), draw.randrange(1500), draw.choice(["aisle", "window"])) for n in range(5000)])


def ask_travel(draw: random.Random) -> List[Question]:
    return asked(draw, [
        ("How many people fit into the smallest {}?", "SELECT min(capacity) FROM plane WHERE model = '{}'", AIRCRAFT),
        ("How many were {}?", "SELECT count(*) FROM trip WHERE outcome = '{}'", ["delayed", "diverted"]),
        ("Who eats {}?", "SELECT full_name FROM traveller WHERE meal = '{}'", ["vegan", "halal", "kosher"]),
        ("How many passengers hold papers of {}?", "SELECT count(*) FROM traveller WHERE citizenship = '{}'", COUNTRIES),
        ("Which types does {} fly?", "SELECT p.model FROM plane p JOIN carrier c ON p.carrier_id = c.id WHERE c.name = '{}'", AIRLINES),
        ("How many prefer the {}?", "SELECT count(*) FROM seat WHERE position = '{}'", ["aisle", "window"]),
    ])  # fmt: skip


def fill_zoo(draw: random.Random, c: sqlite3.Connection) -> None:
    rows(c, "animal", [(n, draw.choice(FIRST), draw.choice(SPECIES), draw.randrange(12), draw.randint(0, 30)) for n in range(200)])
    rows(c, "enclosure", [(n, draw.choice(["aviary", "savannah", "aquarium", "nocturnal house"]), draw.randint(20, 900)) for n in range(12)])
    rows(c, "keeper", [(n, person(draw), draw.choice(TOWNS), draw.randint(1, 30)) for n in range(40)])
    rows(c, "feeding", [(n, draw.randrange(200), draw.randrange(40), draw.choice(FOODS), draw.randint(1, 40)) for n in range(1500)])
    rows(c, "sponsor", [(n, draw.choice(LABELS) + " Trust", draw.randrange(200), draw.randint(10, 900)) for n in range(80)])


def ask_zoo(draw: random.Random) -> List[Question]:
    return asked(draw, [
        ("How old is the oldest {}?", "SELECT max(age) FROM animal WHERE species = '{}'", SPECIES),
        ("How big is the {}?", "SELECT area FROM enclosure WHERE kind = '{}'", ["aviary", "savannah", "aquarium", "nocturnal house"]),
        ("How many kilos of {} were eaten?", "SELECT sum(kilos) FROM feeding WHERE fodder = '{}'", FOODS),
        ("How much did {} give?", "SELECT sum(amount) FROM sponsor WHERE name = '{} Trust'", LABELS),
        ("Since when does somebody from {} work here?", "SELECT max(years) FROM keeper WHERE home = '{}'", TOWNS),
    ])  # fmt: skip


MADE = (
    Made("value_schools", "choose", """
        CREATE TABLE districts (id INTEGER PRIMARY KEY, name TEXT, county TEXT, sites INTEGER);
        CREATE TABLE schools (id INTEGER PRIMARY KEY, name TEXT, district_id INTEGER REFERENCES districts, town TEXT, kind TEXT,
            pupils INTEGER);
        CREATE TABLE staff (id INTEGER PRIMARY KEY, full_name TEXT, school_id INTEGER REFERENCES schools, role TEXT, pay INTEGER);
        CREATE TABLE results (id INTEGER PRIMARY KEY, school_id INTEGER REFERENCES schools, subject TEXT, points INTEGER);
    """, fill_schools, ask_schools),
    Made("value_hospital", "report", """
        CREATE TABLE unit (id INTEGER PRIMARY KEY, name TEXT, beds INTEGER);
        CREATE TABLE physician (id INTEGER PRIMARY KEY, full_name TEXT, unit_id INTEGER REFERENCES unit, origin TEXT);
        CREATE TABLE patient (id INTEGER PRIMARY KEY, full_name TEXT, residence TEXT, age INTEGER);
        CREATE TABLE stay (id INTEGER PRIMARY KEY, patient_id INTEGER REFERENCES patient, physician_id INTEGER REFERENCES physician,
            reason TEXT, days INTEGER);
        CREATE TABLE prescription (id INTEGER PRIMARY KEY, stay_id INTEGER REFERENCES stay, agent TEXT, route TEXT, doses INTEGER);
    """, fill_hospital, ask_hospital),
    Made("value_music", "choose", """
        CREATE TABLE acts (id INTEGER PRIMARY KEY, name TEXT, style TEXT, home TEXT);
        CREATE TABLE records (id INTEGER PRIMARY KEY, title TEXT, act_id INTEGER REFERENCES acts, imprint TEXT, year INTEGER);
        CREATE TABLE shows (id INTEGER PRIMARY KEY, act_id INTEGER REFERENCES acts, place TEXT, town TEXT, audience INTEGER);
        CREATE TABLE awards (id INTEGER PRIMARY KEY, record_id INTEGER REFERENCES records, prize TEXT, year INTEGER);
    """, fill_music, ask_music),
    Made("value_shop", "report", """
        CREATE TABLE item (id INTEGER PRIMARY KEY, title TEXT, family TEXT, price INTEGER);
        CREATE TABLE client (id INTEGER PRIMARY KEY, full_name TEXT, place TEXT, tier TEXT);
        CREATE TABLE purchase (id INTEGER PRIMARY KEY, client_id INTEGER REFERENCES client, state TEXT, carried_by TEXT, day TEXT);
        CREATE TABLE line (id INTEGER PRIMARY KEY, purchase_id INTEGER REFERENCES purchase, item_id INTEGER REFERENCES item,
            quantity INTEGER);
        CREATE TABLE depot (id INTEGER PRIMARY KEY, town TEXT, region TEXT, capacity INTEGER);
    """, fill_shop, ask_shop),
    Made("value_library", "choose", """
        CREATE TABLE work (id INTEGER PRIMARY KEY, title TEXT, author TEXT, topic TEXT, house TEXT, pages INTEGER);
        CREATE TABLE branch (id INTEGER PRIMARY KEY, name TEXT, locality TEXT, shelves INTEGER);
        CREATE TABLE copy (id INTEGER PRIMARY KEY, work_id INTEGER REFERENCES work, branch_id INTEGER REFERENCES branch, condition TEXT);
        CREATE TABLE reader (id INTEGER PRIMARY KEY, full_name TEXT, home TEXT, status TEXT);
        CREATE TABLE loan (id INTEGER PRIMARY KEY, copy_id INTEGER REFERENCES copy, reader_id INTEGER REFERENCES reader, days INTEGER);
    """, fill_library, ask_library),
    Made("value_travel", "report", """
        CREATE TABLE carrier (id INTEGER PRIMARY KEY, name TEXT, base TEXT);
        CREATE TABLE plane (id INTEGER PRIMARY KEY, carrier_id INTEGER REFERENCES carrier, model TEXT, capacity INTEGER);
        CREATE TABLE trip (id INTEGER PRIMARY KEY, plane_id INTEGER REFERENCES plane, origin TEXT, destination TEXT, outcome TEXT,
            minutes INTEGER);
        CREATE TABLE traveller (id INTEGER PRIMARY KEY, full_name TEXT, citizenship TEXT, meal TEXT);
        CREATE TABLE seat (id INTEGER PRIMARY KEY, trip_id INTEGER REFERENCES trip, traveller_id INTEGER REFERENCES traveller,
            position TEXT);
    """, fill_travel, ask_travel),
    Made("value_zoo", "report", """
        CREATE TABLE enclosure (id INTEGER PRIMARY KEY, kind TEXT, area INTEGER);
        CREATE TABLE animal (id INTEGER PRIMARY KEY, name TEXT, species TEXT, enclosure_id INTEGER REFERENCES enclosure, age INTEGER);
        CREATE TABLE keeper (id INTEGER PRIMARY KEY, full_name TEXT, home TEXT, years INTEGER);
        CREATE TABLE feeding (id INTEGER PRIMARY KEY, animal_id INTEGER REFERENCES animal, keeper_id INTEGER REFERENCES keeper,
            fodder TEXT, kilos INTEGER);
        CREATE TABLE sponsor (id INTEGER PRIMARY KEY, name TEXT, animal_id INTEGER REFERENCES animal, amount INTEGER);
    """, fill_zoo, ask_zoo),
)  # fmt: skip


def make(folder: Path) -> Dict[str, List[Dict[str, str]]]:
    """Writes `NAME.sqlite` for each database, `choose.json` and `report.json`; the questions by part."""
    folder.mkdir(parents=True, exist_ok=True)
    questions: Dict[str, List[Dict[str, str]]] = {"choose": [], "report": []}
    for made in MADE:
        draw = random.Random(f"{SEED} {made.name}")
        path = folder / f"{made.name}.sqlite"
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            connection.executescript(made.schema)
            made.fill(draw, connection)
        connection.close()
        for question in made.ask(draw):
            questions[made.part].append({"db_id": made.name, "question": question.text, "query": question.sql})
    for part, rows_ in questions.items():
        (folder / f"{part}.json").write_text(json.dumps(rows_, indent=1) + "\n", encoding="utf-8")
    return questions


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="value_databases.py", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the files go")
    for part, questions in make(parser.parse_args().folder).items():
        print(f"{part}: {len(questions)} questions")
