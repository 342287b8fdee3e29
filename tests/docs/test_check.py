"""The checker, on pages that are wrong on purpose. Those about commands need the program: PORTCULLIS=path."""

import os
import pathlib
import tempfile
import unittest

import cases
import check
import pages

BINARY = os.environ.get("PORTCULLIS")


class Broken:
    """Two pages that are well, to be broken."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name).resolve()
        self.write("docs/SUMMARY.md", "# Summary\n\n- [One](one.md)\n- [Two](two/two.md)\n")
        self.write("docs/one.md", "# One\n\n## A `--flag`, and more\n\n[two](two/two.md#again-1) and [here](#a---flag-and-more)\n")
        self.write("docs/two/two.md", "# Two\n\n## Again\n\n## Again\n\n[one](../one.md)\n")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def found(self, binary=None):
        return check.check(self.root, binary and pathlib.Path(binary))

    def add(self, text):
        """Adds to a page that is well so far; gives what is wrong then."""
        self.assertEqual(self.found(), [])
        return self.add_more(text)

    def add_more(self, text):
        file = self.root / "docs/one.md"
        file.write_text(file.read_text() + "\n" + text + "\n")
        return self.found(BINARY)

    def assert_one(self, problems, *parts):
        self.assertEqual(len(problems), 1, problems)
        for part in parts:
            self.assertIn(part, problems[0])


class WithoutTheProgram(Broken, unittest.TestCase):
    def test_a_page_that_is_not_in_the_summary(self):
        self.write("docs/three.md", "# Three\n")
        self.assert_one(self.found(), "docs/three.md:1", "not in SUMMARY.md")

    def test_a_page_that_is_in_the_summary_only(self):
        self.write("docs/SUMMARY.md", "# Summary\n\n- [One](one.md)\n- [Two](two/two.md)\n- [Three](three.md)\n")
        self.assert_one(self.found(), "SUMMARY.md:5", "no such file")

    def test_a_page_that_is_in_the_summary_twice(self):
        self.write("docs/SUMMARY.md", "# Summary\n\n- [One](one.md)\n- [Two](two/two.md)\n- [One](one.md)\n")
        self.assert_one(self.found(), "SUMMARY.md:5", "twice")

    def test_a_page_without_a_title(self):
        self.write("docs/two/two.md", "## Again\n\n## Again\n")
        self.assert_one(self.found(), "two.md:1", "title")

    def test_cases_need_rows_tests_and_names_that_carry_their_number(self):
        self.write("docs/SUMMARY.md", "# Summary\n\n- [Cases](security/cases.md)\n- [No](security/not-applicable.md)\n")
        for page in ("docs/one.md", "docs/two/two.md"):
            (self.root / page).unlink()
        self.write("src/x.rs", "fn a1_b2_good() {}\nfn b12_another() {}\nfn duty() {}\n")
        self.write("docs/security/not-applicable.md", "# No\n\n| A2 | cannot occur |\n")
        numbers, duties = cases.NUMBERS, cases.DUTIES
        self.addCleanup(setattr, cases, "NUMBERS", numbers)
        self.addCleanup(setattr, cases, "DUTIES", duties)
        cases.NUMBERS, cases.DUTIES = {"A": 2, "B": 2, "C": 1}, {"d1a": 1}
        good = {
            "A1": "`src/x.rs::a1_b2_good`",
            "A2": "—",
            "B1": "`src/x.rs::b12_another`",
            "B2": "`src/x.rs::a1_b2_good`",
            "C1": "—",
            "d1a_01": "`src/x.rs::duty`",
        }

        def found(rows):
            lines = "".join(f"| {case} | words | {held} |\n" for case, held in rows.items())
            self.write("docs/security/cases.md", f"# Cases\n\n{lines}")
            return self.found()

        self.assert_one(found(good), "cases.md:5", "B1", "does not carry")
        good["B1"] = "`src/x.rs::a1_b1_x`"
        self.write("src/x.rs", (self.root / "src/x.rs").read_text() + "fn a1_b1_x() {}\n")
        self.assertEqual(found(good), [])
        self.assert_one(found({**good, "d1a_01": "words"}), "d1a_01", "neither a test nor a line")
        without = {case: held for case, held in good.items() if case != "C1"}
        self.assert_one(found(without), "C1 has no row")

    def test_links_that_lead_nowhere(self):
        self.assert_one(self.add("see\n[a page](tow.md)"), "one.md:8", "tow.md", "no such file")

    def test_anchors_that_are_not_there(self):
        self.assert_one(self.add("[again](two/two.md#again-2)"), "one.md:7", "no such heading")

    def test_anchors_are_those_of_mdbook(self):
        # From mdBook's own tests, and headings of ours.
        for heading, expected in {
            "`--passes`: add more rustdoc passes": "--passes-add-more-rustdoc-passes",
            "Method-call 🐙 expressions": "method-call--expressions",
            "A token (HSM, smart card, SoftHSM)": "a-token-hsm-smart-card-softhsm",
            "Tokens, [linked](x.md) and *stressed*": "tokens-linked-and-stressed",
            "`access_ttl` and __bold__": "access_ttl-and-bold",
        }.items():
            self.assertEqual(pages.anchor(heading), expected)

    def test_links_out_of_the_book(self):
        self.write("Makefile", "")
        self.assert_one(self.add("[make](../Makefile)"), "leads out of docs/")

    def test_other_pages_may_lead_anywhere_that_is(self):
        self.write("README.md", "# R\n\n[docs](docs/one.md#one), [make](Makefile)\n")
        self.assert_one(self.found(), "README.md:3", "Makefile")

    def test_code_has_no_links(self):
        self.assertEqual(self.add("`[x](nowhere.md)`\n\n```\n[x](nowhere.md)\n# No heading\n```"), [])

    def test_a_block_that_does_not_end(self):
        self.assert_one(self.add("```sh\nls"), "does not end")

    def test_files_and_tests_that_are_not_there(self):
        self.write("tests/it/a.rs", "fn one_is_one() {}\n")
        self.assertEqual(self.add("`tests/it/a.rs::one_is_one`, `tests/it`, `src of it`"), [])
        self.assert_one(self.add_more("`tests/it/b.rs`"), "one.md:9", "there is no tests/it/b.rs")
        self.write("tests/it/b.rs", "")
        self.assert_one(self.add_more("`tests/it/a.rs::one_is_two`"), "no such test")

    def test_settings_that_are_not_there(self):
        self.write("conf/portcullis.toml", "[tokens]\naccess_ttl = \"24h\"\n# [login.github]\n# client_secret_file = \"x\"  # of the app\n")
        self.write("src/audit.rs", 'record("login.failed")')
        good = "`tokens.access_ttl`, `tokens.access_ttl = \"1h\"`, `login.github`, `login.github.client_secret`, `login.failed`"
        self.assertEqual(self.add(good), [])
        self.assert_one(self.add_more("`tokens.acces_ttl`"), "one.md:9", "tokens.acces_ttl")
        self.write("docs/one.md", "# One\n")
        self.write("docs/two/two.md", "# Two\n\n`login.github.client_id = \"x\"`\n")
        self.assert_one(self.found(), "login.github.client_id")

    def test_includes(self):
        self.assert_one(self.add("{{#include ../nowhere.txt}}"), "nowhere.txt")
        self.write("nowhere.txt", "[x](tow.md)\n")
        self.assert_one(self.found(), "nowhere.txt:1", "tow.md")


@unittest.skipUnless(BINARY, "PORTCULLIS names no program")
class WithTheProgram(Broken, unittest.TestCase):
    def test_commands_that_are_not_there(self):
        self.assert_one(self.add("```\n$ portcullis user ad alice\n```"), "no command portcullis user ad")

    def test_commands_behind_others(self):
        self.assert_one(self.add("```sh\necho x | sudo -u portcullis portcullis usr list\n```"), "no command portcullis usr")

    def test_options_that_are_not_there(self):
        self.assert_one(self.add("```sh\nKEY=1 portcullis encode mcp.example.com \\\n  --rot gw.example\n```"), "no option --rot")

    def test_too_many_arguments(self):
        self.assert_one(self.add("```\nportcullis user add alice bob --password-stdin\n```"), "no more than 1")

    def test_spans_of_code(self):
        self.assert_one(self.add("run `portcullis vault\nkeygenerate`"), "keygenerate")

    def test_commands_that_are_well(self):
        text = "```\nportcullis user add|list\nportcullis -c FILE apikey create X [--service S]… --json | jq .key\n"
        text += "portcullis bridge -- uvx --from x y\nportcullis: not a command\nportcullis serve   # the gateway\nportcullis backup b-$(date +%F).sealed\n```\n`portcullis vault …`"
        self.assertEqual(self.add(text), [])

    def test_configurations_that_are_wrong(self):
        self.assert_one(self.add('```toml\n[server]\ndomian = "gw.example"\n```'), "line 2", "server.domian")

    def test_configurations_that_are_no_toml(self):
        self.assert_one(self.add("```toml\n[server\n```"), "no TOML")

    def test_configurations_in_parts(self):
        text = '```toml\n[[upstream]]\ncommand = ["uvx", "mcp-server-time"]\nalias = "time"\nenv_files = { K = "/etc/portcullis/k" }\n```\n'
        text += '```toml\n[vault]\nkey_file = "vault.key"\n```\n\n'
        text += "```toml\n[limits]\nshared = true\n```\n\n```toml\n[package]\nname = 1\n```"
        self.assertEqual(self.add(text), [])


if __name__ == "__main__":
    unittest.main()
