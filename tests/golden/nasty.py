"""Writes nasty.txt: valid UTF-8 that tokenizers get wrong."""

from pathlib import Path

PARTS = [
    # spaces, tabs, newlines, carriage returns in runs
    "a b  c   d    e     f      g       h        i" + " " * 16 + "j" + " " * 31 + "k" + " " * 64 + "l",
    "\t\ttabs\t \t mixed \t\t\t\n\n\nthree\n\n\n\n\nfive\r\ncrlf\r\n\r\ncr\rcr\r\r\n \n  \n   trailing   \n",
    " leading space\n  two\n   three\n\t\n \t \n",
    "\n" * 33 + "x" + "\t" * 17 + "y" + "\r" * 5 + "z",
    # contractions, case, punctuation
    "It's I'm you're we've he'd she'll THEY'RE DON'T don’t ‘quoted’ “double” — – … ‹› «»",
    "HTTPServer camelCase snake_case kebab-case SCREAMING_CASE iPhone XMLHttpRequest αβγΔΕ ÀÉÎõü ßẞ ﬁ ﬂ ǅ İı",
    "!!! ??? ... ,,, ;;; ::: --- === *** ### @@@ $$$ %%% ^^^ &&& ((( ))) [[[ ]]] {{{ }}} <<< >>> ||| \\\\\\ /// ~~~ ``` ''' \"\"\"",
    # digits
    "0 00 000 0000 1 12 123 1234 12345 123456 1234567 12345678901234567890 3.14159 1,000,000 1e-5 0x7fff 2024-12-31T23:59:59Z ½ ² ³ Ⅷ ٣٤٥ १२३ 一二三 ①②③",
    # scripts
    "敏捷的棕色狐狸跳过了懒狗。我能吞下玻璃而不傷身體。「引用」『二重』",
    "いろはにほへと ちりぬるを カタカナ ﾊﾝｶｸ 日本語とEnglishの混在",
    "다람쥐 헌 쳇바퀴에 타고파 각 가\u0301",
    "السَّلامُ عَلَيْكُمْ وَرَحْمَةُ ٱللَّٰهِ ﷽ الأرقام ١٢٣",
    "שָׁלוֹם עֲלֵיכֶם עברית mixed עם English 123",
    "नमस्ते दुनिया क्षत्रिय தமிழ் ไทยไม่มีช่องว่าง ᠮᠣᠩᠭᠣᠯ ខ្មែរ မြန်မာ",
    "Съешь же ещё этих мягких французских булок Ελληνικά Հայերեն ქართული አማርኛ",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕄𝕒𝕥𝕙 𝟘𝟙𝟚 𐍈 𒀀 𓀀 🂡 𠀋 𠮷",
    # emoji: ZWJ, skin, flags, keycaps, variation selectors
    "👨‍👩‍👧‍👦 🏳️‍🌈 👩🏽‍🚀 🇩🇪🇯🇵🇺🇸 1️⃣ ❤️ ❤ ☺︎ ☺️ 🧑‍💻👍🏿 🫠🪿",
    # combining marks, normalisation forms, zalgo
    "é e\u0301 ñ n\u0303 Å A\u030a Å ﬃ ① Ω Ω ḋ\u0323 q\u0307\u0323 q\u0323\u0307",
    "Z\u0351\u036b\u0343\u036a\u0302\u036ba\u0328\u0348\u034cl\u0329\u0316\u035eg\u031d\u033ao\u0321\u0325\u0353",
    # invisible: zero width, joiners, bidi controls, soft hyphen, odd spaces, BOM, replacement, private use, noncharacter
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word \u202eRTL override\u202c \u2066isolate\u2069 soft\u00adhyphen",
    "nbsp\u00a0thin\u2009hair\u200aem\u2003ideo\u3000line\u2028para\u2029nel\u0085vt\u000bff\u000cogham\u1680end",
    "\ufeffbom \ufffd replacement \ue000 private \U0010ffff last \ufdd0 nonchar \uffff",
    "control \x01\x02\x07\x08\x1b[31mred\x1b[0m\x7f",
    # SentencePiece's own mark and byte tokens as text
    "▁underline▁▁two ▁ mixed <0x0A> <0x41> <0xFF> <unk> ▁▁▁▁",
    # look-alike special tokens
    "<|im_start|>user\nhello<|im_end|>\n<|endoftext|><bos><eos><pad><unk><s></s>[INST] [/INST]<start_of_turn>user\nhi<end_of_turn>\n",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|><|eot_id|><|eot|> < |im_start| > <|im_start| <bos <start_of_turn>>",
    "<repo_name>x<reponame><file_sep><filename><gh_stars><issue_start><jupyter_script><empty_output><mask>[multimodal]<unused0><unused99>",
    "<table><tr><td>a</td></tr></table><h1>t</h1><strong>s</strong><sub>x</sub><blockquote>q</blockquote>",
    # code
    "def f(x: int) -> int:\n    \"\"\"doc\"\"\"\n    if x:\n        return x ** 2  # square\n\treturn {'a': [1, 2, (3, 4)]}\n",
    "fn main() {\n    println!(\"{:?}\", vec![1u8; 3].iter().map(|b| b ^ 0xff).collect::<Vec<_>>());\n}\n",
    "#include <stdio.h>\nint main(void){for(int i=0;i<10;++i)printf(\"%d\\n\",i);return 0;}\n",
    "SELECT * FROM t WHERE a<>'b' AND c LIKE '%d%' -- comment\n$ rm -rf ./* && echo \"done\" | tee /dev/null 2>&1\n",
    "{\"k\":[null,true,-1.5e+10,\"\\u00e9\\n\"]} <a href=\"x?y=1&amp;z=2\">&nbsp;</a> $\\frac{a}{b}$ https://example.org/a_b?c=d#e",
    # repeats
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" + "ha" * 40 + "的" * 20 + "😀" * 9 + "ــــــــ" + "." * 50,
    "Pneumonoultramicroscopicsilicovolcanoconiosis Donaudampfschifffahrtsgesellschaftskapitän",
    "   ",
]

Path(__file__).with_name("nasty.txt").write_bytes("\n".join(PARTS).encode())
