"""Small random models of well-known architectures, each with the kind of tokenizer its family has, made in a second."""

import io
import json
from pathlib import Path
from typing import Any

WORDS = (
    "whale house tree river mountain garden elephant table window holiday greeting wave huge size count three".split()
)
TEXTS = [
    text
    for number, word in enumerate(WORDS * 20)
    for text in (
        f"The {word} is {number}.{number % 7} metres long, and it's fine, isn't it?",
        f"Hello! I am Rosa, a museum guide. size_m={number % 10} count={number % 6} direction=left hand=both",
        f'Say <{word}> | "{word}" /(no) [yes] & {word.upper()} {word.title()}; où é ü 你好 {number}',
    )
]
KINDS = ("qwen", "llama", "gemma", "mistral")
# What else the fuzzing meets: a byte-level vocabulary with names like ours, and unigrams without bytes.
OTHERS = ("named", "unigram")


def byte_level(specials: list[str], plain: list[str], *, ignore_merges: bool = False, size: int = 700) -> str:
    """A byte-level BPE as Qwen and Llama 3 have it."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    split = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    split += r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in plain])
    return tokenizer.to_str()


def sentencepiece_model(kind: str, **more: Any) -> bytes:
    """A SentencePiece model, `bpe` or `unigram`."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=out, model_type=kind, vocab_size=500, num_threads=1, minloglevel=2,
        hard_vocab_limit=False,
        **more,
    )  # fmt: skip
    return out.getvalue()


def write_tokenizer(kind: str, folder: Path) -> None:
    """The files of a tokenizer as the family ships them, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any]
    if kind in ("qwen", "named"):
        names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        names += ["<|end|>", "<|user|>", "<|assistant|>"] if kind == "named" else []
        definition = byte_level(names, ["<think>", "</think>"], ignore_merges=kind == "named")
        (folder / "tokenizer.json").write_text(definition, encoding="utf-8")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": names[0]}
        config["chat_template"] = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    elif kind == "llama":
        model = sentencepiece_model("bpe", byte_fallback=True, normalization_rule_name="identity", split_digits=True)
        (folder / "tokenizer.model").write_bytes(model)
        config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    elif kind == "gemma":
        specials = ["<mask>", "<start_of_turn>", "<end_of_turn>"]
        model = sentencepiece_model(
            "bpe", byte_fallback=True, normalization_rule_name="identity", split_digits=True,
            pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>",
            user_defined_symbols=[*specials, "<b>", "\n", "\n\n"],
        )  # fmt: skip
        (folder / "tokenizer.model").write_bytes(model)
        config = {"tokenizer_class": "GemmaTokenizer", "additional_special_tokens": specials}
    elif kind in ("mistral", "unigram"):
        model = sentencepiece_model("unigram", byte_fallback=kind == "mistral", split_digits=True)
        (folder / "tokenizer.model").write_bytes(model)
        config = {"tokenizer_class": "MistralTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    else:
        raise ValueError(kind)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def definition(kind: str, folder: Path) -> str:
    """What the tokenizer of a folder says of itself, once transformers has read it."""
    from transformers import AutoTokenizer

    write_tokenizer(kind, folder)
    return str(AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str())


def write_base(kind: str, folder: Path, *, tied: bool | None = None, dtype: str = "float32", width: int = 64) -> Path:
    """A random causal model with its tokenizer, as `from_pretrained` wants it; heads tied as the family has them."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        Gemma3TextConfig,
        LlamaConfig,
        MistralConfig,
        Qwen3Config,
    )

    write_tokenizer(kind, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sizes: dict[str, Any] = {
        "vocab_size": -(-len(tokenizer) // 8) * 8 + (40 if kind == "qwen" else 0),  # Qwen has spare rows
        "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": width // 4, "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None,
    }  # fmt: skip
    config = {
        "qwen": lambda: Qwen3Config(**sizes, tie_word_embeddings=True if tied is None else tied),
        "llama": lambda: LlamaConfig(**sizes, tie_word_embeddings=False if tied is None else tied),
        "gemma": lambda: Gemma3TextConfig(
            **sizes, tie_word_embeddings=True if tied is None else tied, sliding_window=64, query_pre_attn_scalar=16
        ),
        "mistral": lambda: MistralConfig(**sizes, tie_word_embeddings=False if tied is None else tied),
    }[kind]()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    return folder
