from __future__ import annotations

import hashlib

import orjson
import pytest

from crm_assets.conversations import (
    DatasetError,
    check_dataset,
    conversation_ids,
    load_conversations,
    rules,
)
from crm_assets.conversations.lines import MAX_LINE
from crm_assets.errors import InputError

from .conftest import turn


def problems(path, **options):
    """What `check_dataset` finds, as (line, field, reason)."""
    with pytest.raises(DatasetError) as caught:
        check_dataset(path, **options)
    return [(found.line, found.field, found.reason) for found in caught.value.findings]


def test_a_good_dataset_is_summed_up(dataset, document):
    path = dataset(document("a"), b"", b"  \t", document("b", turns=[turn(1)]))
    summary = check_dataset(path)
    assert (summary.count, summary.turns) == (2, 3)
    assert summary.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert summary.bytes == path.stat().st_size
    assert [record.conversation_id for record in load_conversations(path)] == ["a", "b"]


def test_loading_is_lazy(dataset, document):
    records = load_conversations(dataset(document("a"), b"not json"))
    assert next(records).conversation_id == "a"
    with pytest.raises(DatasetError) as caught:
        next(records)
    assert caught.value.findings[0].line == 2


def test_every_problem_of_every_line_is_reported_at_once(dataset, document):
    path = dataset(
        document("a", turns=[{**turn(1), "turn_id": "1", "user_utterance": None}]),
        b"{broken",
        document("b"),
        document("b"),
        b"[]",
        document(7, complexity_level=None),
    )
    found = problems(path)
    assert found.pop(2)[2].startswith("is not valid JSON")
    assert found == [
        (1, "turns[0].turn_id", "must be a whole number, not the text '1'"),
        (1, "turns[0].user_utterance", "must be text, not null"),
        (4, "conversation_id", "'b' is already on line 3; IDs must be unique"),
        (5, "", "must be a JSON object, not a list"),
        (6, "conversation_id", "must be text, not the number 7"),
        (6, "complexity_level", "must be text, not null"),
    ]


def test_the_message_is_for_a_person(dataset, document):
    path = dataset(document("a"), document("a"))
    with pytest.raises(InputError) as caught:
        check_dataset(path)
    message = str(caught.value)
    assert message.startswith(f"{path} has 1 problem and nothing was run")
    assert f"{path}:2: conversation_id 'a' is already on line 1" in message


def test_findings_are_capped_and_the_rest_counted(dataset):
    path = dataset(*[b"x"] * 4321)
    with pytest.raises(DatasetError) as caught:
        check_dataset(path)
    assert len(caught.value.findings) == 100
    assert caught.value.total == 4321
    assert str(caught.value).endswith("… and 4,221 more")
    assert len(problems(path, limit_findings=3)) == 3


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_dataset_is_an_error(dataset, content):
    path = dataset(content, newline=b"")
    assert problems(path) == [(0, "", "contains no conversation; write one JSON object per line")]


def test_a_missing_file_and_a_folder_are_clear_errors(tmp_path):
    with pytest.raises(InputError, match="There is no dataset at"):
        check_dataset(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="There is no dataset at"):
        list(load_conversations(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match=r"Cannot read .*: Is a directory"):
        check_dataset(tmp_path)


def test_a_torn_last_line_is_called_what_it_is(dataset, document):
    whole = orjson.dumps(document("b", workflow_category="Café"))
    for length in (1, 20, len(whole) // 2, whole.index(b"Caf") + 4, len(whole) - 1):
        path = dataset(orjson.dumps(document("a")) + b"\n", whole[:length], newline=b"")
        [(line, _, reason)] = problems(path)
        assert line == 2
        assert reason == "the file ends in the middle of this line; it was cut off while it was written"


def test_a_last_line_without_newline_is_fine_if_it_is_whole(dataset, document):
    path = dataset(orjson.dumps(document("a")), newline=b"")
    assert check_dataset(path).count == 1


def test_byte_order_mark_and_windows_newlines_are_accepted(dataset, document):
    path = dataset(b"\xef\xbb\xbf" + orjson.dumps(document("a")), document("b"), newline=b"\r\n")
    assert [record.conversation_id for record in load_conversations(path)] == ["a", "b"]


def test_a_document_over_many_lines_is_one_mistake(tmp_path, document):
    path = tmp_path / "data.jsonl"
    pretty = [orjson.dumps(document(name), option=orjson.OPT_INDENT_2) for name in ("a", "b")]
    compact = [orjson.dumps(document(name)) for name in ("a", "b")]
    for content in (
        pretty[0],
        b"\xef\xbb\xbf" + pretty[0].replace(b"\n", b"\r\n"),
        b"\n".join(pretty),  # as jq writes it
        orjson.dumps([document("a")], option=orjson.OPT_INDENT_2),
        b"[\n" + b",\n".join(compact) + b"\n]\n",
        b"[" + b",\n".join(compact) + b"]\n",
        b"[\n" + compact[0] + b"\n]\n",
    ):
        path.write_bytes(content)
        for read in (check_dataset, lambda each: list(conversation_ids(each))):
            with pytest.raises(InputError, match="is one JSON document, not one a line") as caught:
                read(path)
            assert "\n" not in str(caught.value)
    path.write_bytes(compact[0][:50] + b"\n" + compact[1])  # cut off, which is another mistake
    assert [line for line, _, _ in problems(path)] == [1]


def test_utf16_is_one_mistake(tmp_path, document):
    path = tmp_path / "data.jsonl"
    path.write_text((orjson.dumps(document("a")).decode() + "\n") * 3, encoding="utf-16")
    with pytest.raises(InputError, match=r"is UTF-16; save it as UTF-8\.$"):
        check_dataset(path)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (b'"complexity_level":', b'"workflow_category":"Other","complexity_level":', "workflow_category"),
        (b'"expected_tool":', b'"expected_args" : {}, "expected_tool":', "expected_args"),
        (b'"name":"Acme"', b'"name":"Acme","na\\u006de":"\\u0022\\u0022"', "name"),
    ],
)
def test_a_key_that_occurs_twice_is_refused_with_its_line(dataset, document, old, new, key):
    line = orjson.dumps(document("b"))
    assert old in line
    path = dataset(document("a"), line.replace(old, new, 1))
    assert problems(path) == [(2, "", f"has the key {key!r} twice in one object; keep one of the two")]


def test_quotes_in_texts_are_no_keys(dataset, document):
    spoken = orjson.dumps(document("a", turns=[turn(1, user_utterance='"a": 1, "a": 2')]))
    escaped = spoken.replace(b"conversation_id", b"conversation\\u005fid").replace(b'\\"', b"\\u0022")
    spaced = orjson.dumps(document("c"), option=orjson.OPT_INDENT_2).replace(b"\n", b" ")
    assert check_dataset(dataset(spoken, escaped.replace(b':"a"', b':"b"'), spaced)).count == 3


def test_invalid_utf8_is_named_with_its_byte(dataset, document):
    line = orjson.dumps(document("a")).replace(b"Find", b"F\xffnd", 1)
    [(number, _, reason)] = problems(dataset(line))
    assert number == 1
    assert reason == f"is not UTF-8 (byte {line.index(0xFF) + 1} of the line); save the file as UTF-8"


def test_nul_bytes_are_found_wherever_they_are(dataset, document):
    path = dataset(
        document("a", turns=[turn(1, expected_args={"updates": {"notes": ["x", "a\0b"]}})]),
        document("b", initial_entities={"seed_data": {"Client": {"i\0d": {"name": "x"}}}}),
        document("c", turns=[turn(1, user_utterance="backslash \\u0000 only")]),
    )
    assert [(line, field) for line, field, reason in problems(path) if "NUL character" in reason] == [
        (1, "turns[0].expected_args.updates.notes[1]"),
        (2, "initial_entities.seed_data.Client (a key)"),
    ]
    assert len(problems(path)) == 2


def test_a_raw_nul_byte_is_malformed(dataset):
    assert problems(dataset(b'{"a": "\0"}'))[0][2].startswith("is not valid JSON")


def test_a_text_of_ten_megabytes_is_refused_by_name(dataset, document):
    path = dataset(document("a", turns=[turn(1, user_utterance="x" * 10_000_000)]), document("b"))
    [(line, field, reason)] = problems(path)
    assert (line, field) == (1, "turns[0].user_utterance")
    assert reason == "is 10,000,000 characters long; the limit is 1,000,000"


def test_a_wrong_value_of_ten_megabytes_is_not_repeated_in_the_error(dataset, document):
    path = dataset(document("a", turns="x" * 10_000_000))
    with pytest.raises(DatasetError) as caught:
        check_dataset(path)
    assert len(str(caught.value)) < 2_000


def test_a_line_without_end_is_passed_over(dataset, document):
    path = dataset(document("a"), b"x" * (MAX_LINE + 5_000_000), document("b"))
    [(line, field, reason)] = problems(path)
    assert (line, field) == (2, "")
    assert reason.startswith(f"the line is longer than {MAX_LINE:,} bytes")


def test_nesting_that_nothing_could_write_again_is_refused(dataset, document):
    deep: object = "x"
    for _ in range(rules.MAX_DEPTH + 5):
        deep = [deep]
    path = dataset(
        document("a", turns=[turn(1, expected_args={"deep": deep})]),
        b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    )
    found = problems(path)
    assert found[0][0] == 1
    assert found[0][1].startswith("turns[0].expected_args.deep[0][0]")
    assert found[0][2] == "is nested deeper than 100 levels"
    assert found[1][0] == 2
    assert found[1][2].startswith("is not valid JSON")


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [((2, 3), "turns[0].turn_id"), ((1, 1), "turns[1].turn_id"), ((1, 3), "turns[1].turn_id")],
)
def test_turns_are_numbered_from_one_without_gaps(dataset, document, numbers, wrong):
    path = dataset(document("a", turns=[turn(number) for number in numbers]))
    assert problems(path)[0][1] == wrong


def test_a_conversation_needs_a_turn(dataset, document):
    assert problems(dataset(document("a", turns=[]))) == [(1, "turns", "must not be empty")]


@pytest.mark.parametrize("number", [0, 2, 3, 99])
@pytest.mark.parametrize("field", ["user_utterance", "expected_args"])
def test_references_point_to_earlier_turns(dataset, document, number, field):
    text = f"for {{{{turn_{number}.client_id}}}}"
    value = text if field == "user_utterance" else {"updates": [{"notes": text}]}
    path = dataset(document("a", turns=[turn(1), turn(2, **{field: value}), turn(3)]))
    assert problems(path) == [
        (1, f"turns[1].{field}", f"{{{{turn_{number}.client_id}}}} does not name an earlier turn")
    ]


def test_the_list_of_references_points_to_earlier_turns_too(dataset, document):
    path = dataset(document("a", turns=[turn(1), turn(2, references_previous_turns=[1, 2])]))
    assert problems(path) == [
        (1, "turns[1].references_previous_turns", "2 is not the number of an earlier turn")
    ]


def test_a_tool_that_does_not_exist_is_an_error_where_success_is_expected(dataset, document):
    path = dataset(
        document(
            "a",
            turns=[
                turn(1, expected_tool="make_coffee"),
                turn(2, expected_tool="make_tea", expect_success=False),
                turn(3),
            ],
        )
    )
    known = {"client_search"}
    assert problems(path, known_tools=known) == [
        (
            1,
            "turns[0].expected_tool",
            "'make_coffee' is not a CRM tool, but the turn expects success",
        )
    ]
    assert check_dataset(path).count == 1


@pytest.mark.parametrize("boundaries", [[0, 2], [2, 1], [1, 1], [1, 3], [-1]])
def test_segment_boundaries_are_ascending_turn_numbers(dataset, document, boundaries):
    path = dataset(document("a", segment_boundaries=boundaries))
    assert problems(path) == [(1, "segment_boundaries", "must be ascending turn numbers between 1 and 2")]


@pytest.mark.parametrize(
    ("seeds", "field"),
    [
        ([], "initial_entities.seed_data"),
        ({"Client": ["x"]}, "initial_entities.seed_data.Client"),
        ({"Client": {"id-1": None}}, "initial_entities.seed_data.Client.id-1"),
    ],
)
def test_seeds_are_objects_of_objects(dataset, document, seeds, field):
    path = dataset(document("a", initial_entities={"seed_data": seeds}))
    assert [found[1] for found in problems(path)] == [field]


def test_real_datasets_are_well_formed(corpus):
    for path in sorted(corpus.glob("clbench_[ce]*.jsonl")):
        assert check_dataset(path).count > 0


def test_a_results_file_is_not_a_dataset(corpus):
    findings = problems(corpus / "clbench_recorded_claude.jsonl")
    assert (1, "turns", "is missing") in findings
