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


def write_gguf(kind: str, path: Path, *, quantised: bool = False, **changed: Any) -> Path:
    """A random causal model as a GGUF file, as llama.cpp's converter writes it; the same beside it in `path`'s folder.

    Args:
        kind: "llama" (byte-level BPE, as SmolLM 2 has it), "qwen" (biases) or "gemma" (SentencePiece, norms around 1).
        path: of the file; `path.parent / "reference"` becomes the model as `from_pretrained` reads it.
        quantised: matrices in 8 bits; the reference has the same numbers.
        changed: values of the metadata that are other than the model's, by key; dots as `__`.
    """
    import gguf
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config

    name, layers = {"llama": "llama", "qwen": "qwen2", "gemma": "gemma3"}[kind], 2
    writer = gguf.GGUFWriter(path, name)
    count, ids = _gguf_tokenizer(writer, kind)
    sizes: dict[str, Any] = {
        "vocab_size": count, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, **ids,
        "tie_word_embeddings": kind != "qwen", "rms_norm_eps": 1e-6,
    }  # fmt: skip
    config = {
        "llama": lambda: LlamaConfig(**sizes, rope_parameters={"rope_type": "default", "rope_theta": 100_000.0}),
        "qwen": lambda: Qwen2Config(**sizes),
        "gemma": lambda: Gemma3TextConfig(**sizes, head_dim=16, sliding_window=64, query_pre_attn_scalar=256),
    }[kind]()
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    values: dict[str, Any] = {
        "block_count": layers, "context_length": 2048, "embedding_length": 64, "feed_forward_length": 128,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-6,
        "vocab_size": count, "rope.freq_base": {"llama": 1e5, "qwen": 1e4, "gemma": 1e6}[kind],
    }  # fmt: skip
    values |= {"llama": {"rope.dimension_count": 16}, "qwen": {}}.get(
        kind, {"attention.key_length": 16, "attention.value_length": 16, "attention.sliding_window": 64}
    )
    for key, value in (values | {key.replace("__", "."): value for key, value in changed.items()}).items():
        (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(f"{name}.{key}", value)

    names = gguf.get_tensor_name_map(
        next(arch for arch, called in gguf.MODEL_ARCH_NAMES.items() if called == name), layers
    )
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key:  # far from where they begin, and exact around 1
                parameter += torch.randint(-32, 32, parameter.shape) / 128
            if key.endswith("bias"):
                parameter += torch.randn_like(parameter) / 8
            numbers = parameter.float().numpy()
            kept, type_ = numbers + 1 if kind == "gemma" and "norm" in key else numbers, None
            if kind == "llama" and ("q_proj" in key or "k_proj" in key):  # llama.cpp turns pairs, not halves
                heads = 4 if "q_proj" in key else 2
                kept = np.swapaxes(kept.reshape(heads, 2, 8, 64), 1, 2).reshape(kept.shape)
            if quantised and numbers.ndim == 2:  # row by row, so their order does not matter
                type_ = gguf.GGMLQuantizationType.Q8_0
                kept, rounded = gguf.quants.quantize(kept, type_), gguf.quants.quantize(numbers, type_)
                parameter.copy_(torch.from_numpy(gguf.quants.dequantize(rounded, type_)))
            writer.add_tensor(names.get_name(key, (".weight", ".bias")), kept, raw_dtype=type_)
    model.save_pretrained(path.parent / "reference")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_tokenizer(writer: Any, kind: str) -> tuple[int, dict[str, int]]:
    """Write the tokenizer of a kind; how many pieces it has, and which begin, end and fill."""
    if kind == "gemma":
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(
            model_proto=sentencepiece_model(
                "bpe", byte_fallback=True, normalization_rule_name="identity", split_digits=True, pad_id=0, eos_id=1,
                bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>",
                user_defined_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>"],
            )
        )  # fmt: skip
        size = pieces.get_piece_size()
        writer.add_tokenizer_model("llama")
        writer.add_token_list([pieces.id_to_piece(id_) for id_ in range(size)])
        writer.add_token_scores([pieces.get_score(id_) for id_ in range(size)])
        writer.add_token_types(
            [2 if id_ == 3 else 3 if id_ < 7 else 6 if pieces.is_byte(id_) else 1 for id_ in range(size)]
        )
        writer.add_unk_token_id(3)
        ids = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    else:
        raw = json.loads(byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], []))
        tokens = {id_: token for token, id_ in raw["model"]["vocab"].items()}
        special = {token["id"]: token["content"] for token in raw["added_tokens"]}
        size = len(tokens) + len(special)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2" if kind == "qwen" else "smollm")
        writer.add_token_list([(tokens | special)[id_] for id_ in range(size)])
        writer.add_token_types([3 if id_ in special else 1 for id_ in range(size)])
        writer.add_token_merges([" ".join(pair) for pair in raw["model"]["merges"]])
        begin, _, end = sorted(special)
        writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")
        ids = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": begin}
    writer.add_bos_token_id(ids["bos_token_id"])
    writer.add_eos_token_id(ids["eos_token_id"])
    writer.add_pad_token_id(ids["pad_token_id"])
    return size, ids
