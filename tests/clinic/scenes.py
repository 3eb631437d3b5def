"""What the clinic's staff do, each scene by its name: python scenes.py SCENE.

Where each person's agent listens is in AGENTS (JSON: login -> URL), where the application listens behind it
(door two) in DOOR, and where it listens itself in APPLICATION. A scene prints nothing and ends with 0 if all
is as it should be.
"""

import json
import os
import sys
import threading

import requests

AGENTS = json.loads(os.environ["AGENTS"])
PASSWORD = "clinic"


class Person:
    """Somebody who is logged in, by way of `url`."""

    def __init__(self, login, url=None):
        self.url = url or AGENTS[login]
        self.browser = requests.Session()
        self.browser.trust_env = False
        form = {"login": login, "password": PASSWORD}
        answer = self.browser.post(self.url + "/login", data=form, allow_redirects=False, timeout=30)
        assert answer.status_code == 302, (login, answer.status_code, answer.text)

    def get(self, path, **headers):
        return self.browser.get(self.url + path, headers=headers, timeout=30)

    def post(self, path, **form):
        return self.browser.post(self.url + path, data=form, timeout=30)

    def names(self):
        answer = self.get("/api/patients")
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return [patient["name"] for patient in answer.json()]

    def add(self, name, ssn):
        answer = self.post("/patients", name=name, ssn=ssn, born="1961-02-03")
        assert answer.status_code == 200 and name in answer.text, (answer.status_code, answer.text)
        return answer.url.rsplit("/", 1)[1]


def is_refused(answer):
    assert answer.status_code in (401, 403), (answer.status_code, answer.text)
    assert "Marker" not in answer.text, answer.text


def two_users_at_once_see_what_each_may():
    others = {"alice": "bob", "bob": "alice"}
    doctors = {login: Person(login) for login in others}
    for login, doctor in doctors.items():
        patient = doctor.add(f"Marker of {login}", f"ssn-{login}")
        doctor.post(f"/patients/{patient}/visits", note=f"Marker: seen by {login}")
    faults = []

    def look(login, doctor):
        try:
            for _ in range(40):
                names = [name for name in doctor.names() if name.startswith("Marker of ")]
                assert f"Marker of {login}" in names and f"Marker of {others[login]}" not in names, names
                found = doctor.get(f"/?ssn=ssn-{login}").text
                assert f"Marker of {login}" in found, found
        except Exception as fault:
            faults.append((login, fault))

    threads = [threading.Thread(target=look, args=pair) for pair in doctors.items() for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults
    clerk = Person("carol").names()
    assert {"Marker of alice", "Marker of bob"} <= set(clerk), clerk


def jobs_see_the_columns_that_they_have_shares_for():
    alice, carol = Person("alice"), Person("carol")
    patient = alice.add("Marker of both", "ssn-both")
    seen = alice.post(f"/patients/{patient}/visits", note="Marker: a broken wrist")
    assert "Marker: a broken wrist" in seen.text, seen.text
    is_refused(alice.post(f"/patients/{patient}/invoices", iban="DE75512108001245126199", amount="120.50"))
    billed = carol.post(f"/patients/{patient}/invoices", iban="DE75512108001245126199", amount="120.50")
    assert "DE75512108001245126199: 120.50" in billed.text, billed.text
    assert "Marker of both" in billed.text and "wrist" not in billed.text, billed.text
    is_refused(carol.post(f"/patients/{patient}/visits", note="Marker of a clerk"))
    seen = alice.get(f"/patients/{patient}").text
    assert "6199" in seen and "512108001245126199" not in seen and "120.50" not in seen, seen


def nothing_protected_without_an_agent():
    for url in (os.environ["DOOR"], os.environ["APPLICATION"]):
        dora = Person("dora", url)
        is_refused(dora.get("/api/patients"))
        is_refused(dora.post("/patients", name="Marker of dora", ssn="ssn-dora"))
        # Nor by a header that somebody makes up, or with the envelope of nobody.
        for envelope in ("x", "a.b.c.d.e"):
            headers = {"Trefoil-User": "dora", "Trefoil-Envelope": envelope}
            is_refused(dora.get("/api/patients", **headers))
            is_refused(dora.get("/api/patients", **{"Trefoil-User": "alice", "Trefoil-Envelope": envelope}))


def a_share_serves_nobody_but_its_user():
    # Logged in as dora, by way of alice's agent: the application asks for dora's share.
    is_refused(Person("dora", AGENTS["alice"]).get("/api/patients"))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
