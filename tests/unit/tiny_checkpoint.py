"""Random checkpoints of a few kilobytes, as people save them, for tests of text models."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.normalizers import BertNormalizer

WORDS = (  # noqa: SIM905  a sentence reads better
    "you are an idiot stupid hate awful thanks nice great helpful kind day the a is was not very "
    "go away we i they it this that so much have good morning what who why how see"
).split()
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789!?.,@#:/-"]
SMALL = {
    "vocab_size": 160, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 40,
}  # fmt: skip


def tokenizer(first="[CLS]", last="[SEP]", pad="[PAD]", unknown="[UNK]", pad_number=0):
    """WordPiece over a few words and all letters."""
    special = [first, last, unknown]
    special.insert(pad_number, pad)
    pieces = [*special, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    made.normalizer = BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(first, vocabulary[first]), (last, vocabulary[last])]
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B {last}", special_tokens=ends
    )
    return made


def save(folder: Path, kind: str = "bert", labels: tuple[str, ...] = ()) -> Path:
    """A random BERT, RoBERTa or DistilBERT; with a classification head when labels are given."""
    import torch
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    names = {"bert": ("[CLS]", "[SEP]", "[PAD]", "[UNK]", 0),
             "distilbert": ("[CLS]", "[SEP]", "[PAD]", "[UNK]", 0),
             "roberta": ("<s>", "</s>", "<pad>", "<unk>", 1)}[kind]  # fmt: skip
    first, last, pad, unknown, pad_number = names
    config = AutoConfig.for_model(kind, **SMALL, pad_token_id=pad_number)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
        config.num_labels = len(labels)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        auto = AutoModelForSequenceClassification if labels else AutoModel
        auto.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(*names[:4], pad_number=pad_number),
        cls_token=first, sep_token=last, pad_token=pad, unk_token=unknown,
    ).save_pretrained(folder)  # fmt: skip
    return folder
