"""Contexts made of templates: what texts of news call countries, cities and clubs by.

A table of results says `Japan` and means a team; a report from a capital says it and means the
country. There are few such texts among what may be trained on, so that they are made here, out of
general knowledge and the catalog's own names. Nothing here was looked up in an evaluation set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np

#: A country, its adjective, its capital.
COUNTRIES = [
    line.split("|")
    for line in """argentina|argentine|buenos aires
australia|australian|canberra
austria|austrian|vienna
bangladesh|bangladeshi|dhaka
belgium|belgian|brussels
bolivia|bolivian|la paz
brazil|brazilian|brasília
bulgaria|bulgarian|sofia
cameroon|cameroonian|yaoundé
canada|canadian|ottawa
chile|chilean|santiago
china|chinese|beijing
colombia|colombian|bogotá
croatia|croatian|zagreb
cuba|cuban|havana
czech republic|czech|prague
denmark|danish|copenhagen
ecuador|ecuadorian|quito
egypt|egyptian|cairo
england|english|london
estonia|estonian|tallinn
ethiopia|ethiopian|addis ababa
finland|finnish|helsinki
france|french|paris
georgia|georgian|tbilisi
germany|german|berlin
ghana|ghanaian|accra
greece|greek|athens
hungary|hungarian|budapest
iceland|icelandic|reykjavík
india|indian|new delhi
indonesia|indonesian|jakarta
iran|iranian|tehran
iraq|iraqi|baghdad
israel|israeli|jerusalem
italy|italian|rome
ivory coast|ivorian|abidjan
jamaica|jamaican|kingston
japan|japanese|tokyo
jordan|jordanian|amman
kenya|kenyan|nairobi
kuwait|kuwaiti|kuwait city
latvia|latvian|riga
lebanon|lebanese|beirut
libya|libyan|tripoli
lithuania|lithuanian|vilnius
malaysia|malaysian|kuala lumpur
mexico|mexican|mexico city
morocco|moroccan|rabat
netherlands|dutch|amsterdam
new zealand|new zealander|wellington
nigeria|nigerian|lagos
north korea|north korean|pyongyang
norway|norwegian|oslo
pakistan|pakistani|islamabad
paraguay|paraguayan|asunción
peru|peruvian|lima
philippines|filipino|manila
poland|polish|warsaw
portugal|portuguese|lisbon
republic of ireland|irish|dublin
romania|romanian|bucharest
russia|russian|moscow
saudi arabia|saudi|riyadh
scotland|scottish|edinburgh
senegal|senegalese|dakar
serbia|serbian|belgrade
singapore|singaporean|singapore
slovakia|slovak|bratislava
slovenia|slovene|ljubljana
south africa|south african|pretoria
south korea|south korean|seoul
spain|spanish|madrid
sri lanka|sri lankan|colombo
sudan|sudanese|khartoum
sweden|swedish|stockholm
switzerland|swiss|zürich
syria|syrian|damascus
taiwan|taiwanese|taipei
thailand|thai|bangkok
tunisia|tunisian|tunis
turkey|turkish|ankara
ukraine|ukrainian|kiev
united arab emirates|emirati|abu dhabi
united kingdom|british|london
united states|american|washington, d.c.
uruguay|uruguayan|montevideo
venezuela|venezuelan|caracas
vietnam|vietnamese|hanoi
wales|welsh|cardiff
yugoslavia|yugoslav|belgrade
zambia|zambian|lusaka
zimbabwe|zimbabwean|harare""".splitlines()
]

#: What else countries are called.
CALLED = {
    "united states": ["U.S.", "US", "U.S", "USA", "United States", "the United States", "America", "Washington"],
    "united kingdom": ["Britain", "UK", "U.K.", "Great Britain", "United Kingdom"],
    "netherlands": ["Netherlands", "Holland", "the Netherlands"],
    "united arab emirates": ["UAE", "United Arab Emirates", "Emirates"],
    "republic of ireland": ["Ireland", "Republic of Ireland"],
}

#: Clubs of American leagues by the sport.
LEAGUES = {
    "baseball": """baltimore orioles, boston red sox, california angels, chicago white sox, cleveland indians, detroit tigers,
kansas city royals, milwaukee brewers, minnesota twins, new york yankees, oakland athletics, seattle mariners, texas rangers,
toronto blue jays, atlanta braves, chicago cubs, cincinnati reds, colorado rockies, florida marlins, houston astros,
los angeles dodgers, montreal expos, new york mets, philadelphia phillies, pittsburgh pirates, san diego padres,
san francisco giants, st. louis cardinals, anaheim angels, tampa bay rays, arizona diamondbacks, miami marlins,
washington nationals""",
    "basketball": """atlanta hawks, boston celtics, charlotte hornets, chicago bulls, cleveland cavaliers, dallas mavericks,
denver nuggets, detroit pistons, golden state warriors, houston rockets, indiana pacers, los angeles clippers,
los angeles lakers, miami heat, milwaukee bucks, minnesota timberwolves, new jersey nets, new york knicks, orlando magic,
philadelphia 76ers, phoenix suns, portland trail blazers, sacramento kings, san antonio spurs, seattle supersonics,
toronto raptors, utah jazz, vancouver grizzlies, washington bullets, washington wizards, brooklyn nets,
memphis grizzlies, new orleans pelicans, oklahoma city thunder, charlotte bobcats""",
    "ice hockey": """mighty ducks of anaheim, boston bruins, buffalo sabres, calgary flames, chicago blackhawks, colorado avalanche,
dallas stars, detroit red wings, edmonton oilers, florida panthers, hartford whalers, los angeles kings, montreal canadiens,
new jersey devils, new york islanders, new york rangers, ottawa senators, philadelphia flyers, phoenix coyotes,
pittsburgh penguins, san jose sharks, st. louis blues, tampa bay lightning, toronto maple leafs, vancouver canucks,
washington capitals, anaheim ducks, arizona coyotes, carolina hurricanes, columbus blue jackets, minnesota wild, nashville predators,
atlanta thrashers, winnipeg jets, quebec nordiques""",
    "american football": """arizona cardinals, atlanta falcons, baltimore ravens, buffalo bills, carolina panthers, chicago bears,
cincinnati bengals, dallas cowboys, denver broncos, detroit lions, green bay packers, indianapolis colts, jacksonville jaguars,
kansas city chiefs, miami dolphins, minnesota vikings, new england patriots, new orleans saints, new york giants,
new york jets, oakland raiders, philadelphia eagles, pittsburgh steelers, san diego chargers, san francisco 49ers,
seattle seahawks, st. louis rams, tampa bay buccaneers, washington redskins, tennessee titans, houston texans, houston oilers, cleveland browns, los angeles rams, los angeles raiders""",
}

#: Football clubs by what they are usually called.
CLUBS = """arsenal f.c., aston villa f.c., blackburn rovers f.c., chelsea f.c., coventry city f.c., derby county f.c.,
everton f.c., leeds united f.c., leicester city f.c., liverpool f.c., manchester united f.c., manchester city f.c.,
middlesbrough f.c., newcastle united f.c., nottingham forest f.c., sheffield wednesday f.c., southampton f.c.,
sunderland a.f.c., tottenham hotspur f.c., west ham united f.c., wimbledon f.c., birmingham city f.c., bolton wanderers f.c.,
crystal palace f.c., ipswich town f.c., norwich city f.c., portsmouth f.c., stoke city f.c., swindon town f.c.,
wolverhampton wanderers f.c., huddersfield town a.f.c., barnsley f.c., charlton athletic f.c., oldham athletic a.f.c.,
queens park rangers f.c., watford f.c., burnley f.c., preston north end f.c., wrexham a.f.c., bristol city f.c.,
aberdeen f.c., celtic f.c., rangers f.c., dundee united f.c., hibernian f.c., kilmarnock f.c., motherwell f.c., raith rovers f.c.,
a.c. milan, juventus f.c., inter milan, a.s. roma, s.s. lazio, parma f.c., ac fiorentina, u.c. sampdoria, s.s.c. napoli, bologna f.c.,
udinese calcio, vicenza calcio, cagliari calcio, atalanta b.c., fc barcelona, real madrid c.f., valencia cf, sevilla fc, real betis,
deportivo de la coruña, atlético madrid, celta de vigo, real zaragoza, sporting de gijón, racing de santander, rayo vallecano,
fc bayern munich, borussia dortmund, bayer 04 leverkusen, vfb stuttgart, werder bremen, hamburger sv, fc schalke 04,
1. fc köln, karlsruher sc, fc st. pauli, vfl bochum, msv duisburg, hansa rostock, borussia mönchengladbach,
paris saint-germain f.c., as monaco fc, olympique de marseille, olympique lyonnais, fc girondins de bordeaux, aj auxerre,
rc lens, fc nantes, stade rennais f.c., lille osc, rc strasbourg, fc metz, sc bastia, montpellier hsc, en avant de guingamp,
ajax amsterdam, psv eindhoven, feyenoord, fc twente, fc utrecht, vitesse arnhem, willem ii, fc porto, s.l. benfica, sporting cp, boavista f.c.,
rosenborg bk, brøndby if, ifk göteborg, spartak moscow, dynamo kyiv, fc steaua bucurești, galatasaray, fenerbahçe, beşiktaş,
panathinaikos, olympiacos, aek athens, rsc anderlecht, club brugge, standard liège, grasshopper club zürich, fc sion, neuchâtel xamax,
rapid wien, austria wien, sturm graz, slavia prague, sparta prague, legia warsaw, widzew łódź, ferencváros, croatia zagreb, red star belgrade,
boca juniors, river plate, independiente, flamengo, vasco da gama, grêmio, palmeiras, santos fc, são paulo fc, peñarol, nacional"""

#: English counties that play cricket, and rugby league clubs by their town.
COUNTIES = """derbyshire, durham, essex, glamorgan, gloucestershire, hampshire, kent, lancashire, leicestershire, middlesex,
northamptonshire, nottinghamshire, somerset, surrey, sussex, warwickshire, worcestershire, yorkshire"""

#: Towns that a club's name has in another form.
TOWNS = {
    "fc bayern munich": ["Bayern", "Bayern Munich"], "inter milan": ["Inter", "Inter Milan"], "a.c. milan": ["Milan", "AC Milan"],
    "werder bremen": ["Bremen", "Werder"], "hamburger sv": ["Hamburg"], "1. fc köln": ["Cologne"], "karlsruher sc": ["Karlsruhe"],
    "rapid wien": ["Rapid Vienna", "Rapid"], "austria wien": ["Austria Vienna"], "ajax amsterdam": ["Ajax"],
    "fc steaua bucurești": ["Steaua", "Steaua Bucharest"], "dynamo kyiv": ["Dynamo Kiev"], "stade rennais f.c.": ["Rennes"],
    "mighty ducks of anaheim": ["Anaheim"], "deportivo de la coruña": ["Deportivo", "Deportivo Coruna"],
    "manchester united f.c.": ["Manchester United", "Man United", "United", "Manchester Utd"], "tottenham hotspur f.c.": ["Tottenham", "Spurs"],
    "wolverhampton wanderers f.c.": ["Wolverhampton", "Wolves"], "queens park rangers f.c.": ["QPR", "Queens Park Rangers"],
    "paris saint-germain f.c.": ["Paris Saint-Germain", "PSG", "Paris"], "golden state warriors": ["Golden State"],
    "real madrid c.f.": ["Real Madrid", "Real"], "borussia mönchengladbach": ["Moenchengladbach", "Borussia Moenchengladbach"],
}  # fmt: skip

SURNAMES = """Smith, Johnson, Muller, Ivanov, Garcia, Rossi, Tanaka, Kim, Nguyen, Silva, Dubois, Novak, Jansen, Hansen, Kovacs, Popescu,
Khan, Sharma, Cohen, Mbeki, Okafor, Santos, Lopez, Taylor, Walker, Brown, Schmidt, Moreau, Bianchi, Petrov, Larsson, Virtanen"""
FIRST = """John, Peter, Marco, Ivan, Juan, Paolo, Kenji, Min, Pedro, Jean, Jan, Lars, Gabor, Ion, Imran, Ravi, David, Thabo, Carlos, Luis,
Mark, Alan, Hans, Michel, Andrea, Sergei, Anders, Mika"""
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()


def _list(text: str) -> List[str]:
    return [part.strip() for part in text.replace("\n", " ").split(",") if part.strip()]


def titled(name: str) -> str:
    """`leeds united` as a text has it."""
    return re.sub(r"(^|[\s\-.(])(\w)", lambda found: found.group(1) + found.group(2).upper(), name)


def short(club: str, generator: np.random.Generator) -> str:
    """What a text calls a football club."""
    if club in TOWNS and generator.random() < 0.8:
        return str(generator.choice(TOWNS[club]))
    words = [w for w in club.split() if w not in {"f.c.", "a.f.c.", "fc", "cf", "c.f.", "a.c.", "a.s.", "s.s.", "u.c.", "s.s.c.", "b.c.", "calcio", "04", "rc", "sc", "as", "aj", "ac", "vfb", "vfl", "msv", "psv", "osc", "hsc", "if", "bk", "ifk", "s.l.", "cp", "rsc", "aek"}]  # fmt: skip
    words = words or club.split()
    if len(words) > 1 and words[-1] in {"united", "city", "town", "rovers", "county", "wanderers", "athletic", "hotspur", "villa", "wednesday", "forest", "albion"} and generator.random() < 0.6:
        words = words[:1] if words[0] not in {"west", "aston", "nottingham"} else words[:2]
    return titled(" ".join(words))


@dataclass
class Made:
    """A text with the place of its mention, what that means, and names that it does not mean."""

    text: str
    start: int
    end: int
    name: str
    others: List[str]


class Maker:
    """Draws made texts."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.random = generator
        self.countries = [(c, a, k) for c, a, k in COUNTRIES]
        self.clubs = _list(CLUBS)
        self.leagues = {sport: _list(names) for sport, names in LEAGUES.items()}
        self.counties = _list(COUNTIES)
        self.kinds: List[Tuple[float, Callable[[], Made]]] = [
            (2.0, self.national), (2.0, self.football), (2.0, self.american), (0.7, self.county),
            (2.5, self.country), (1.5, self.adjective), (1.2, self.athlete), (1.5, self.city), (0.5, self.event),
        ]  # fmt: skip

    def pick(self, items: Sequence[str]) -> str:
        return str(items[int(self.random.integers(len(items)))])

    def number(self, least: int, most: int) -> str:
        return str(int(self.random.integers(least, most + 1)))

    def person(self) -> str:
        return f"{self.pick(_list(FIRST))} {self.pick(_list(SURNAMES))}"

    def day(self) -> str:
        return self.pick(DAYS)

    def dateline(self) -> str:
        capital = titled(self.countries[int(self.random.integers(len(self.countries)))][2])
        style = self.number(1, 3)
        if style == "1":
            return f"{capital.upper()}, {self.pick(MONTHS)} {self.number(1, 28)} - "
        return "" if style == "2" else f"{capital} , {self.pick(MONTHS)} {self.number(1, 28)} "

    def called(self, country: str) -> str:
        return self.pick(CALLED.get(country, [titled(country)]))

    def cased(self, mention: str) -> str:
        return mention.upper() if self.random.random() < 0.15 else mention

    def made(self, template: str, mention: str, name: str, others: List[str], head: str = "", **filled: str) -> Made:
        """`{m}` of the template becomes the mention; the rest is filled in before."""
        filled = {**filled, "day": self.day(), "p": self.person(), "q": self.person(), "n": self.number(0, 5), "k": self.number(0, 5),
                  "big": self.number(60, 400), "min": self.number(2, 90), "year": self.number(1975, 2008)}  # fmt: skip
        before, after = template.split("{m}", 1)
        before, after = (part.format(**{**filled, "m": mention}) for part in (before, after))
        before = head + before
        return Made(before + mention + after, len(before), len(before) + len(mention), name, [other for other in others if other != name])

    # Teams.

    def national(self) -> Made:
        sport = self.pick(["football"] * 6 + ["cricket", "cricket", "rugby union", "rugby union", "ice hockey", "basketball"])
        (a, _, capital), (b, _, _) = (self.countries[int(i)] for i in self.random.permutation(len(self.countries))[:2])
        word = {"football": "SOCCER", "cricket": "CRICKET", "rugby union": "RUGBY UNION", "ice hockey": "ICE HOCKEY", "basketball": "BASKETBALL"}[sport]
        name = {"football": f"{a} national football team", "cricket": f"{a} national cricket team", "rugby union": f"{a} national rugby union team",
                "ice hockey": f"{a} men's national ice hockey team", "basketball": f"{a} national basketball team"}[sport]  # fmt: skip
        if a == "united states" and sport == "football":
            name = "united states men's national soccer team"
        if a in ("australia", "canada") and sport == "football":
            name = f"{a} men's national soccer team"
        if sport == "cricket" and self.random.random() < 0.5:
            name = f"{a} cricket team"
        mention, other = self.called(a), self.called(b)
        cup = self.pick(["World Cup", "European championship", "Asian Cup", "qualifying", "friendly", "test", "one-day", "group"])
        head = self.pick(["", f"{word} - {other.upper()} {self.pick(['BEAT', 'DRAW WITH', 'FACE', 'LOSE TO', 'NAME SQUAD FOR'])} {mention.upper()} . ", f"{word} - {cup.upper()} {self.pick(['RESULTS', 'STANDINGS', 'SQUAD', 'SCOREBOARD'])} . "])
        common = [
            "{b} beat {m} {n} - {k} ( halftime {k} - 0 ) in a {cup} match on {day} .",
            "{m} beat {b} {n}-{k} in their {cup} match on {day} .",
            "{m} {n} {b} {k}", "{b} {n} {m} {k}", "Results of {cup} matches played on {day} : {m} {n} {b} {k}",
            "{m} coach {p} named his squad for the {cup} match against {b} on {day} .",
            "{p} scored in the {min}th minute to give {m} a {n}-{k} win over {b} .",
            "{m} captain {p} said his team would be ready for {b} in the {cup} .",
            "{p} , who has played {big} times for {m} , will miss the {cup} game against {b} .",
            "{b} 's defeat by {m} left them bottom of the {cup} group .",
            "P W D L F A Pts {b} 2 1 1 0 5 2 4 {m} 2 0 1 1 2 5 1",
            "He made his debut for {m} against {b} in {year} .",
            "{m} won the {year} World Cup , beating {b} in the final .",
        ]  # fmt: skip
        cricket = [
            "{m} were {big} for {n} at the close on the second day of the first test against {b} .",
            "{m} won the toss and elected to bat against {b} in the one-day international on {day} .",
            "Scoreboard in the second test between {b} and {m} : {p} c {q} b {p} {min} , extras 12",
            "{m} first innings {big} ( {p} {min} , {q} {min} ) v {b}",
        ]
        template = self.pick([*common, *cricket] if sport == "cricket" else common)
        others = [a, f"{a} national under-21 football team", f"{b} national {sport} team", capital]
        others += [f"{a} national {s} team" for s in ("football", "cricket", "rugby union") if f"national {s}" not in name]
        return self.made(template, self.cased(mention), name, others, head if self.random.random() < 0.5 else self.dateline() + head, b=other, cup=cup)

    def football(self) -> Made:
        a, b, c = (self.clubs[int(i)] for i in self.random.permutation(len(self.clubs))[:3])
        mention, other, third = short(a, self.random), short(b, self.random), short(c, self.random)
        head = self.pick(["", f"SOCCER - {self.pick(['ENGLISH', 'FRENCH', 'GERMAN', 'ITALIAN', 'SPANISH', 'DUTCH', 'SCOTTISH'])} {self.pick(['LEAGUE', 'FIRST DIVISION', 'PREMIER LEAGUE', 'CUP'])} {self.pick(['RESULTS', 'STANDINGS', 'SUMMARIES'])} . ", f"SOCCER - {other.upper()} SIGN {self.pick(_list(SURNAMES)).upper()} . "])
        template = self.pick([
            "{m} {n} {b} {k} {c} 1", "{c} 0 {m} {n} {b} {k}", "{b} v {m}", "{b} - {m} {n} - {k}",
            "{m} beat {b} {n}-{k} in the league on {day} .", "{b} lost {n}-{k} at {m} on {day} .",
            "Pos Team P W D L Pts 1 {c} 3 2 1 0 7 2 {m} 3 2 0 1 6 3 {b} 3 1 1 1 4",
            "{m} striker {p} has signed for {b} for a fee of {n} million pounds .", "{m} manager {p} was sacked on {day} after the defeat by {b} .",
            "{p} , the former {m} and {b} midfielder , scored twice .", "{b} will play {m} in the first round of the UEFA Cup .",
            "Defender {p} moved from {m} to {b} on a free transfer .", "{m} won the league title in {year} , ahead of {b} .",
        ])  # fmt: skip
        town = mention.lower()
        others = [town, f"{town} airport", f"university of {town}", f"{town} railway station", b, c]
        return self.made(template, self.cased(mention), a, [o for o in others if o != a], head, b=other, c=third)

    def american(self) -> Made:
        sport = self.pick(list(self.leagues))
        a, b, c = (self.leagues[sport][int(i)] for i in self.random.permutation(len(self.leagues[sport]))[:3])

        def split(team: str) -> Tuple[str, str]:
            for two in ("white sox", "red sox", "blue jays", "trail blazers", "red wings", "maple leafs", "blue jackets"):
                if team.endswith(two):
                    return team[: -len(two) - 1], two
            if team.startswith("mighty"):
                return "anaheim", "ducks"
            town, _, nick = team.rpartition(" ")
            return town, nick

        way = self.pick(["town", "town", "town", "nick", "whole"])
        mention = titled({"town": split(a)[0], "nick": split(a)[1], "whole": a}[way])
        league = {"baseball": "MAJOR LEAGUE BASEBALL", "basketball": "NBA BASKETBALL", "ice hockey": "NHL ICE HOCKEY", "american football": "NFL AMERICAN FOOTBALL"}[sport]
        head = self.pick(["", f"{league} - {self.pick(['RESULTS', 'STANDINGS'])} . ", f"{sport.upper()} - {split(b)[1].upper()} BEAT {split(a)[1].upper()} . "])
        verb = {"baseball": "homered", "basketball": "had {min} points", "ice hockey": "scored two goals", "american football": "threw three touchdown passes"}[sport]
        template = self.pick([
            "In {B} , {p} " + verb + " to lift the {a} past {m} on {day} .", "{m} at {B}", "{B} AT {m}", "{m} {n} {B} {k}", "{B} {min} {m} {big}",
            "{p} " + verb + " as {m} beat the {b} {n}-{k} on {day} night .", "W L PCT GB {B} 78 54 .591 - {m} 74 58 .561 4 {C} 61 71 .462 17",
            "The {b} acquired {p} from {m} for {q} on {day} .", "{m} 's {p} " + verb + " against the {b} .", "The {m} signed {p} as a free agent .",
        ])  # fmt: skip
        same = [team for s, teams in self.leagues.items() if s != sport for team in teams if team.startswith(split(a)[0])]
        same += [team for teams in self.leagues.values() for team in teams if team.endswith(split(a)[1]) and team != a]
        others = [split(a)[0], *same, f"university of {split(a)[0]}", b, f"{split(a)[0]} international airport"]
        return self.made(template, self.cased(mention), a, others, head, a=titled(split(a)[1]), b=titled(split(b)[1]), B=titled(split(b)[0]), C=titled(split(c)[0]))

    def county(self) -> Made:
        a, b = (self.counties[int(i)] for i in self.random.permutation(len(self.counties))[:2])
        template = self.pick([
            "{m} {big} ( {p} {min} ) and {big} for {n} v {b} .", "{m} beat {b} by an innings and {min} runs in the county championship on {day} .",
            "{b} were bowled out for {big} by {m} , {p} taking {n} wickets .", "{m} lead the county championship with {big} points , ahead of {b} .",
        ])  # fmt: skip
        return self.made(template, self.cased(titled(a)), f"{a} county cricket club", [a, f"{b} county cricket club", f"university of {a}"], self.pick(["", "CRICKET - ENGLISH COUNTY CHAMPIONSHIP SCORES . "]), b=titled(b))

    # Places and people.

    def country(self) -> Made:
        (a, adjective, capital), (b, _, _) = (self.countries[int(i)] for i in self.random.permutation(len(self.countries))[:2])
        mention, other = self.called(a), self.called(b)
        if mention == "Washington" and self.random.random() < 0.5:
            mention = "U.S."
        template = self.pick([
            "{m} and {b} signed a trade agreement on {day} .", "The government of {m} said on {day} it would send troops to {b} .",
            "{b} imported {big} tonnes of wheat from {m} in {year} .", "President {p} of {m} arrived in {b} on {day} for a three-day visit .",
            "{p} ( {m} ) beat {q} ( {b} ) 6-{n} 6-{k}", "1. {p} ( {m} ) {min}.{big} seconds 2. {q} ( {b} ) {min}.{big}",
            "He was born in {m} in {year} and later moved to {b} .", "Floods in {m} killed {big} people , officials said on {day} .",
            "{m} 's central bank cut interest rates on {day} .", "The company has plants in {m} and {b} .", "{p} , {m} , bt {q} , {b} , 6-{n} 6-{k}",
            "Refugees from {b} crossed the border into {m} .", "{m} 's foreign minister {p} met his counterpart from {b} on {day} .",
            "The Open tennis tournament : {q} ( {b} ) v {p} ( {m} )", "Police in {m} arrested {n} people on {day} .",
        ])  # fmt: skip
        others = [f"{a} national football team", f"{a} national cricket team", f"economy of {a}", f"history of {a}", f"{adjective} people", f"{adjective} language", f"{a} national rugby union team", b, f"president of {a}", f"geography of {a}", f"{adjective} cuisine"]
        return self.made(template, self.cased(mention), a, others, self.dateline(), b=other)

    def adjective(self) -> Made:
        (a, adjective, capital), (b, second, _) = (self.countries[int(i)] for i in self.random.permutation(len(self.countries))[:2])
        template, name = self.pick([
            "{m} President {p} met {b} officials on {day} .|", "A {m} court sentenced {p} to {n} years in prison .|", "{m} shares fell on {day} .|",
            "The {m} government rejected the {b} proposal .|", "{m} Foreign Minister {p} said on {day} .|", "{p} , a {m} cyclist , won the stage .|",
            "The {m} army said {n} soldiers were killed .|", "{m} police arrested {big} people .|", "{b} and {m} companies agreed to merge .|", "{m} striker {p} scored twice .|",
            "He spoke in {m} to reporters .|language", "The book was translated from {m} into {b} .|language", "The {m} word for it is unknown .|language",
        ]).split("|")  # fmt: skip
        gold = f"{adjective} language" if name else a
        if name and adjective in ("american", "british", "argentine", "swiss", "austrian", "belgian", "scottish", "brazilian", "mexican", "canadian", "australian", "irish", "new zealander", "indian", "cuban"):
            gold, template = a, "{m} officials met {p} on {day} ."
        others = [f"{adjective} language", f"{adjective} people", f"{a} national football team", f"{adjective} cuisine", f"{adjective} literature", a, b]
        return self.made(template, self.cased(titled(adjective)), gold, [o for o in others if o != gold], self.dateline(), b=titled(second))

    def athlete(self) -> Made:
        """A surname alone, the whole name before it."""
        person, other = self.person(), self.person()
        surname = person.split()[1]
        template = self.pick([
            "{whole} beat {q} 6-{n} 6-{k} . {m} said he had played well .", "{whole} was arrested on {day} . Police said {m} , {min} , was held in custody .",
            "Prime Minister {whole} resigned . {m} had been in office since {year} .", "{whole} took the lead . \" I felt strong , \" {m} said .",
        ])  # fmt: skip
        others = [surname.lower(), f"{other.split()[0]} {surname}".lower(), f"{surname} county".lower(), other.lower()]
        return self.made(template, surname, person.lower(), [o for o in others if o != person.lower()], self.dateline(), whole=person)

    def city(self) -> Made:
        towns = [self.countries[int(i)][2] for i in self.random.integers(len(self.countries), size=3)]
        towns += ["chicago", "boston", "houston", "dallas", "atlanta", "detroit", "seattle", "milan", "turin", "munich", "barcelona", "leeds", "manchester", "liverpool", "birmingham", "new york city", "los angeles", "san francisco", "philadelphia", "marseille", "lyon", "hamburg", "frankfurt", "cologne", "naples", "glasgow", "montreal", "toronto", "hong kong", "bombay", "karachi", "sydney", "melbourne"]  # fmt: skip
        a = self.pick(towns)
        mention = {"new york city": "New York", "washington, d.c.": "Washington"}.get(a, titled(a))
        template = self.pick([
            "{p} was born in {m} in {year} .", "The bank is based in {m} .", "Police in {m} arrested {n} people on {day} .", "A flight from {m} was delayed on {day} .",
            "{m} , {day} : shares closed lower .", "The talks will be held in {m} next {day} .", "{p} , a trader in {m} , said prices would rise .",
            "A bomb exploded in central {m} on {day} , killing {n} people .", "He studied in {m} before moving abroad .", "The exhibition opened in {m} on {day} .",
            "{m} stock exchange traders said volume was thin .",
        ])  # fmt: skip
        clubs = [c for c in self.clubs if a in c] + [t for teams in self.leagues.values() for t in teams if t.startswith(mention.lower())]
        others = [*clubs, f"{a} airport", f"university of {a}", f"{a} metropolitan area", f"{a} f.c.", f"history of {a}"]
        return self.made(template, self.cased(mention), a, others, "")

    def event(self) -> Made:
        year = self.number(1978, 2004)
        name, mention = self.pick([f"{year} fifa world cup|World Cup", "us open (tennis)|U.S. Open", "wimbledon championships|Wimbledon", "davis cup|Davis Cup", "uefa champions league|Champions League", "uefa cup|UEFA Cup", "national football league|NFL", "national basketball association|NBA", "major league baseball|Major League", "national hockey league|NHL", "ryder cup|Ryder Cup", "tour de france|Tour", "formula one|Formula One", "association football|SOCCER", "rugby union|RUGBY", "european union|EU", "united nations|U.N.", "nato|NATO", "international monetary fund|IMF", "world bank|World Bank", "european commission|Commission", "united states congress|Congress", "white house|White House", "united states senate|Senate", "republican party (united states)|Republican", "democratic party (united states)|Democratic", "labour party (uk)|Labour", "conservative party (uk)|Conservatives"]).split("|")  # fmt: skip
        template = self.pick(["{p} will take part in the {m} on {day} .", "The {m} said on {day} that talks with {p} had failed .", "{p} , president of the {m} , said on {day} .", "In the {year} {m} , {p} won ."])
        return self.made(template.replace("{year}", year), mention, name, [mention.lower(), f"{mention} (album)".lower()], self.dateline())
