"""A base on its whole way: expand, train, merge, reload, generate under constraint, describe."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bases import KINDS, WORDS, write_base, write_gguf
from transformers import AutoModelForCausalLM

from visavis.agent.constrain import MoveConstraint, ReplyConstraint
from visavis.agent.engine import Engine, Sampling
from visavis.agent.tagging import ActConstraint
from visavis.agent.transformers_engine import TransformersEngine
from visavis.cli import main
from visavis.emotion import Emotion
from visavis.errors import FingerprintError, UsageError
from visavis.finetune.expand import ExpandedModel
from visavis.finetune.export import export_vllm
from visavis.finetune.gguf_base import find_gguf, read_base
from visavis.finetune.lora import adapt, trained_share
from visavis.finetune.text_corpus import write_examples
from visavis.finetune.train_base import READ_FOLDER, base_folder, read_base_file
from visavis.retrieval.describe import describe
from visavis.tokenizers.codec import FIVE_PARTS, MotionCodec
from visavis.tokenizers.fingerprint import check_models
from visavis.tokenizers.turn_language import (
    ActPlan,
    ActPrompt,
    Candidate,
    MovePrompt,
    MoveStep,
    ReplyPlan,
    ReplyPrompt,
    Segment,
    Tag,
)
from visavis.tokenizers.turn_reading import Violation, parse_act, parse_move, parse_reply  # fmt: skip
from visavis.tokenizers.vocabulary import JointVocabulary

pytestmark = [
    # transformers renames an option of its own that PEFT still reads by its old name
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
    pytest.mark.timeout(1500),
]


def corpora(out: Path, turns: int = 30) -> None:
    """A few turns about things of a museum, and the motion that the teacher makes for them."""
    from visavis.finetune import motion_corpus

    def replies(n: int) -> list[tuple[ReplyPrompt, ReplyPlan]]:
        pairs = []
        for number in range(n):
            word = WORDS[number % len(WORDS)]
            fact = f"The {word} is {number % 9 + 1} metres long."
            prompt = ReplyPrompt("Rosa", "museum guide", (Candidate(fact, 0.9),), (), f"How long is the {word}?")
            pairs.append((prompt, ReplyPlan(Emotion("joy", 0.5), (Segment(fact, True),))))
        return pairs

    def acts(n: int) -> list[tuple[ActPrompt, ActPlan]]:
        pairs = []
        for number in range(n):
            text = f"Hello, the {WORDS[number % len(WORDS)]} was huge!"
            candidates = (Candidate("huge size", 0.8), Candidate("greeting wave", 0.3))
            tag = Tag("huge size", 4, {"size_m": 0.9})
            pairs.append((ActPrompt(text, None, candidates), ActPlan(Emotion("joy", 0.5), text, (tag,))))
        return pairs

    folder = out / "corpora"
    for split, n in (("train", turns), ("dev", 4)):
        write_examples(folder / f"reply_{split}.jsonl", n, replies)
        write_examples(folder / f"act_{split}.jsonl", n, acts)
        motion_corpus.build(folder / f"act_{split}.jsonl", folder / "motion", split, 2)


def say(engine: Engine, seed: int) -> tuple[ReplyPlan, ActPlan, Sequence[MoveStep]]:
    """A turn under constraint: reply, act and move, each parsed."""
    vocabulary, dice = engine.vocabulary, Sampling(1.0, 0, seed)
    end = (vocabulary.control("end"),)
    ask = ReplyPrompt("Rosa", "museum guide", (Candidate("The whale is 3 metres long.", 0.9),), (), "How long is it?")
    reply = ReplyConstraint(vocabulary, ask.cards, limit=12)
    said = parse_reply(
        list(engine.generate(ask.ids(vocabulary), reply, sampling=dice, stop=end, limit=200)), vocabulary
    )
    assert isinstance(said, ReplyPlan), said
    text, candidates = "The whale was this big!", (Candidate("huge size", 0.9),)
    act = ActConstraint(vocabulary, text, candidates, {"huge size": {"size_m": None}}, bias=3.0)
    written = list(engine.generate(ActPrompt(text, None, candidates).ids(vocabulary), act, sampling=dice, stop=end))
    acted = parse_act(written, vocabulary, unfelt=True)
    assert isinstance(acted, ActPlan), acted
    assert acted.text == text and act.plan.tags == acted.tags
    forced = (False, True, False, False, True)
    steps = [MoveStep("whale" if n == 2 else "", n % 3, (0, 7, 0, 0, 7), forced) for n in range(12)]
    move = MoveConstraint(vocabulary, steps)
    prompt = MovePrompt("speak", Emotion("joy", 0.5)).ids(vocabulary)
    moved = parse_move(list(engine.generate(prompt, move, sampling=dice, stop=end, limit=move.length)), vocabulary)
    assert not isinstance(moved, Violation), moved
    assert len(moved.steps) == 12 and all(step.codes[1] == 7 for step in moved.steps)
    return said, acted, moved.steps


def described(steps: Sequence[MoveStep], models: Path) -> list[str]:
    """The glosses that `visavis describe` names for the decoded motion."""
    motion = MotionCodec.load(models / "codec").decode(np.array([step.codes for step in steps]))
    return [gloss for gloss, _ in describe(motion, k=3).glosses]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    corpora(folder)
    return folder


def tiny(folder: Path) -> Path:
    """Where the base of the test in `folder` lies: named after the test, as a run is named after its base."""
    return folder / f"tiny-{folder.name}"


def random_base(kind: str, folder: Path, width: int = 64) -> Path:
    """The base of the test in `folder`."""
    return write_base(kind, tiny(folder), dtype="bfloat16", width=width)


def whole_way(base: str | Path, out: Path, folder: Path, models: Path, *more: str) -> Path:
    """Everything from a base to a described motion; returns the exported folder."""
    target = folder / "exported"
    assert main(["train", "planner", "--base", str(base), "--out", str(out), "--smoke", *more]) == 0
    run = base_folder(out, base)
    assert read_base_file(run)["base"] == str(base)
    assert main(["export", "vllm", str(target), "--model", str(run), "--quiet"]) == 0
    check_models(models, target)

    engine = TransformersEngine.load(target, device="cpu")
    untrained = ExpandedModel.from_base(read_base(str(base), run / READ_FOLDER), FIVE_PARTS)
    vocabulary = engine.vocabulary
    assert vocabulary.names == untrained.vocabulary.names
    assert engine._model.get_input_embeddings().weight.shape[0] == vocabulary.size
    old, new = untrained.model.get_input_embeddings().weight, engine._model.get_input_embeddings().weight
    first = vocabulary.text_size
    assert torch.equal(old[:first].float(), new[:first])  # rows of old ids are those of the base
    assert not torch.equal(old[first:].float(), new[first : len(old)])
    for seed in range(2):
        *_, steps = say(engine, seed)
        glosses = described(steps, models)
        assert len(glosses) == 3 and all(glosses)
    return target


def test_a_base_on_its_whole_way(out: Path, tmp_path: Path, models: Path) -> None:
    target = whole_way(random_base("qwen", tmp_path), out, tmp_path, models, "--tokens", "2048")
    config = json.loads((target / "tokenizer_config.json").read_text())
    assert "chat_template" not in config and not list(target.glob("chat_template*"))
    assert json.loads((target / "generation_config.json").read_text()).get("temperature") is None

    base, run = tiny(tmp_path), base_folder(out, tiny(tmp_path))
    curve = (run / "curve.csv").read_text()
    assert {line.split(",")[0] for line in curve.splitlines()[1:]} == {"rows", "lora"}
    assert main(["train", "planner", "--base", str(base), "--out", str(out), "--smoke", "--tokens", "2048"]) == 0
    assert (run / "curve.csv").read_text() == curve  # nothing was trained again
    with pytest.raises(FingerprintError, match="its settings were others"):
        from visavis.finetune.lora import LoraTraining
        from visavis.finetune.train_base import train_base

        train_base(str(base), out, LoraTraining(rank=2))
    noted = json.loads((run / "base.json").read_text())
    (run / "base.json").write_text(json.dumps(noted | {"codec": "0" * 64}))
    with pytest.raises(FingerprintError, match="expected a planner of the shipped codec"):
        export_vllm(run, tmp_path / "other")
    (run / "base.json").write_text(json.dumps(noted | {"origin": "0" * 16}))
    with pytest.raises(FingerprintError, match="has changed since"):
        export_vllm(run, tmp_path / "other")


def test_a_gguf_file_on_its_whole_way(out: Path, tmp_path: Path, models: Path) -> None:
    path = write_gguf("llama", tmp_path / f"{tiny(tmp_path).name}.gguf", quantised=True)
    target = whole_way(path, out, tmp_path, models, "--tokens", "2048")
    assert not list(target.glob("chat_template*"))
    run = base_folder(out, path)
    assert run.name == f"planner-{tiny(tmp_path).name}" and (run / READ_FOLDER / "chat_template.jinja").exists()
    path.unlink()  # it was converted, so it is not needed again
    export_vllm(run, tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (target / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_real_base_on_its_whole_way(out: Path, tmp_path: Path, models: Path) -> None:
    """SmolLM2-135M-Instruct, as its wheel holds it."""
    try:
        find_gguf("smollm2")
    except UsageError as error:
        pytest.skip(f"no pretrained base here, so only small random ones are tested: {error}")
    whole_way("smollm2", out, tmp_path, models, "--tokens", "2048")
    run = base_folder(out, "smollm2")
    base = AutoModelForCausalLM.from_pretrained(run / READ_FOLDER).eval()
    expanded = ExpandedModel.from_base(run / READ_FOLDER, FIVE_PARTS)
    sentence = "The blue whale is the largest animal on Earth."
    losses = []
    for text in (sentence, " ".join(reversed(sentence.split()))):
        ids = torch.tensor([expanded.vocabulary.encode_text(text)])
        with torch.no_grad():
            before, after = base(ids).logits, expanded.model(ids).logits
        assert torch.equal(before, after[..., : base.config.vocab_size])
        losses.append(float(torch.nn.functional.cross_entropy(before[0, :-1].float(), ids[0, 1:])))
    # it has read English: a random model has 10.8 nats a piece for either
    assert losses[0] < 4.5 < losses[0] + 3 < losses[1], losses


def test_the_shipped_planner_is_exported_as_it_is(tmp_path: Path, models: Path) -> None:
    export_vllm(models / "planner", tmp_path)
    check_models(models, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (models / "planner" / "model.safetensors").read_bytes()
    from transformers import AutoTokenizer, GenerationConfig

    vocabulary = JointVocabulary.load(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("Hello!")["input_ids"] == vocabulary.encode_text("Hello!")
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == vocabulary.control("end")


def test_what_cannot_be_trained_or_exported(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = (
        (["train", "planner", "--dry-run"], "--dry-run belongs to --base"),
        (["train", "codec", "--base", "x"], "--base trains a planner"),
        (["train", "planner", "--base", str(tmp_path)], "expected a causal language model"),
        (["export", "vllm", str(tmp_path / "a"), "--model", str(tmp_path)], "expected a vocabulary"),
    )
    for arguments, message in cases:
        assert main([*arguments, *(["--out", str(out)] if arguments[0] == "train" else [])]) == 2
        assert message in capsys.readouterr().err
    base = write_base("mistral", tmp_path / "m")
    assert main(["train", "planner", "--base", str(base), "--out", str(tmp_path / "none"), "--smoke"]) == 2
    assert "run `visavis train corpus` first" in capsys.readouterr().err
    with pytest.raises(UsageError, match="its adapter is not there"):
        export_vllm(base_folder(tmp_path / "none", base), tmp_path / "b")


def test_dry_run_says_what_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sizes of a Qwen 3 of 0.6 B, without its weights: a rank-16 LoRA and the new rows are 2 % of it."""
    from small_bases import write_tokenizer
    from transformers import Qwen3Config

    write_tokenizer("qwen", tmp_path)
    Qwen3Config(
        vocab_size=151_936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
    ).save_pretrained(tmp_path)  # fmt: skip
    assert main(["train", "planner", "--base", str(tmp_path), "--out", str(tmp_path / "runs"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "trained 12,859,392 (2.16 %): 2,766,848 of new rows, 10,092,544 of LoRA" in said
    for word in ("memory", "GB", "hours", "tokens      30,000,000"):
        assert word in said
    assert not (tmp_path / "runs" / "planner").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_on_its_whole_way(kind: str, out: Path, tmp_path: Path, models: Path) -> None:
    target = whole_way(random_base(kind, tmp_path), out, tmp_path, models)
    run = base_folder(out, tiny(tmp_path))
    samples = (run / "samples.txt").read_text()
    for part in (
        "--- rows, step 3",
        "--- lora, step 3",
        "reply  <|bos|>",
        "act  <|bos|>",
        "speak  <|bos|>",
        "  meant  ",
    ):
        assert part in samples
    assert "heldout reply" in (run / "curve.csv").read_text()
    from visavis.agent import Agent

    with Agent(voice="silent", model=str(target), engine="transformers") as agent:
        assert agent.say("Hello, it was this big!").text == "Hello, it was this big!"
    rows, lora, total = trained_share(
        adapt(ExpandedModel.from_base(target, FIVE_PARTS).model, JointVocabulary.load(target), 16)
    )
    print(f"{kind}: rank 16 trains {rows + lora:,} of {total:,} weights; LoRA alone {100 * lora / total:.2f} %")


@pytest.mark.slow
def test_a_killed_run_goes_on(out: Path, tmp_path: Path) -> None:
    base = write_base("llama", tmp_path / "killed", dtype="bfloat16")
    command = [sys.executable, "-m", "visavis", "train", "planner", "--base", str(base), "--out", str(out), "--smoke"]
    command += ["--tokens", "65536"]  # 16 steps a phase, a checkpoint every third
    run = base_folder(out, base)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 600
        while not list(run.glob("lora/checkpoint-*/trainer_state.json")) and time.monotonic() < until:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    before = {
        (line.split(",")[0], int(line.split(",")[1])) for line in (run / "curve.csv").read_text().splitlines()[1:]
    }
    assert ("lora", 16) not in before
    (run / "lora" / "checkpoint-999").mkdir()  # as a kill in the middle of a checkpoint leaves it
    assert subprocess.run(command, capture_output=True).returncode == 0
    steps = [line.split(",")[:2] for line in (run / "curve.csv").read_text().splitlines()[1:] if ",loss," in line]
    rows = [int(step) for phase, step in steps if phase == "rows"]
    assert rows == list(range(1, 17))  # the first phase was not run again
    assert int(steps[-1][1]) == 16 and (run / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.slow
def test_several_processes_train_one_model(out: Path, tmp_path: Path) -> None:
    """`accelerate launch` with two processes on this CPU: every step of both goes into one adapter."""
    base = write_base("gemma", tmp_path / "two", dtype="bfloat16")
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "visavis", "train", "planner"]
    done = subprocess.run([*launch, "--base", str(base), "--out", str(out), "--smoke"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    run = base_folder(out, base)
    steps = [line.split(",")[:2] for line in (run / "curve.csv").read_text().splitlines()[1:] if ",loss," in line]
    assert steps == [[phase, str(step)] for phase in ("rows", "lora") for step in (1, 2, 3)]
    export_vllm(run, tmp_path / "exported")


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_real_vllm_serves_an_exported_base(out: Path, tmp_path: Path, models: Path) -> None:
    """Its turns parse, forced codes and all, and its log-probabilities are those of transformers up to rounding."""
    from visavis.agent.vllm_engine import VllmEngine
    from visavis.agent.vllm_server import ModelServer, find_python

    if find_python() is None:
        pytest.skip("no vLLM here, so nothing of it is tested; `make setup-vllm` brings it")
    # vLLM's CPU attention begins at heads of 32
    target = whole_way(random_base("qwen", tmp_path, width=128), out, tmp_path, models, "--tokens", "2048")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reference = TransformersEngine.load(target, device="cpu")
    vocabulary = reference.vocabulary
    server = ModelServer.start(target, port=port, log=tmp_path / "vllm.log")
    try:
        server.wait()
        engine = VllmEngine.connect(f"http://127.0.0.1:{port}/v1", target)
        forced = [(False, number % 2 == 0, False, False, False) for number in range(8)]
        steps = [MoveStep("", number % 3, (0, 7, 0, 0, 0), forced[number]) for number in range(8)]
        prompt = MovePrompt("speak", Emotion("joy", 0.5)).ids(vocabulary)
        end = (vocabulary.control("end"),)
        written = list(engine.generate(prompt, MoveConstraint(vocabulary, steps), stop=end, limit=100))
        assert not isinstance(parse_move(written, vocabulary), Violation)
        say(engine, seed=0)
        theirs, ours = engine.score(prompt, written), reference.score(prompt, written)
        assert np.abs(theirs - ours).max() < 0.15  # bf16 there, float32 here
        print(f"vLLM: {len(written)} ids; log-probabilities differ by at most {np.abs(theirs - ours).max():.3f} nats")
        engine.connection.close()
    finally:
        server.stop()
