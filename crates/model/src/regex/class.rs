//! Character classes: `[a-z]`, `\d`, `[[:alpha:]]`, `\p{Greek}`, with and without case.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// The script names that Go knows, in its spelling.
const SCRIPTS: &str = "\
    Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak \
    Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian \
    Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot \
    Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs \
    Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi \
    Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic \
    Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi \
    Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu \
    Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen \
    Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs \
    Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa \
    Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian \
    Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage \
    Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic \
    Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng \
    Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil \
    Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho \
    Warang_Citi Yezidi Yi Zanabazar_Square";

/// The general categories that Go knows, each with its long names.
const CATEGORIES: &str = "C:Other Cc:Control:cntrl Cf:Format Cn:Unassigned Co:Private_Use L:Letter \
    LC:Cased_Letter Ll:Lowercase_Letter Lm:Modifier_Letter Lo:Other_Letter Lt:Titlecase_Letter \
    Lu:Uppercase_Letter M:Mark:Combining_Mark Mc:Spacing_Mark Me:Enclosing_Mark Mn:Nonspacing_Mark \
    N:Number Nd:Decimal_Number:digit Nl:Letter_Number No:Other_Number P:Punctuation:punct \
    Pc:Connector_Punctuation Pd:Dash_Punctuation Pe:Close_Punctuation Pf:Final_Punctuation \
    Pi:Initial_Punctuation Po:Other_Punctuation Ps:Open_Punctuation S:Symbol Sc:Currency_Symbol \
    Sk:Modifier_Symbol Sm:Math_Symbol So:Other_Symbol Z:Separator Zl:Line_Separator \
    Zp:Paragraph_Separator Zs:Space_Separator";

/// Collects the parts of a class.
pub(super) struct ClassBuilder {
    fold: bool,
    /// Ranges as written; folded together at the end.
    ranges: Vec<ClassUnicodeRange>,
    /// Named parts, already folded.
    named: ClassUnicode,
}

impl ClassBuilder {
    /// An empty class; with `fold` its members match in every case.
    pub(super) fn new(fold: bool) -> Self {
        ClassBuilder { fold, ranges: Vec::new(), named: ClassUnicode::empty() }
    }

    /// Adds the code points `low..=high`. Surrogates are no text, so they match nothing.
    pub(super) fn add(&mut self, low: u32, high: u32) {
        let low = if (0xd800..0xe000).contains(&low) { 0xe000 } else { low };
        let high = if (0xd800..0xe000).contains(&high) { 0xd7ff } else { high };
        if let (Some(low), Some(high)) = (char::from_u32(low), char::from_u32(high))
            && low <= high
        {
            self.ranges.push(ClassUnicodeRange::new(low, high));
        }
    }

    /// Adds a named class or, with `negated`, everything else. Case comes first, as in Go: `(?i)\W`
    /// lacks the long s, which folds to a word character.
    pub(super) fn add_named(&mut self, mut class: ClassUnicode, negated: bool) {
        if self.fold {
            class.case_fold_simple();
        }
        if negated {
            class.negate();
        }
        self.named.union(&class);
    }

    /// The class or, with `negated`, everything else.
    pub(super) fn build(self, negated: bool) -> ClassUnicode {
        let mut class = ClassUnicode::new(self.ranges);
        if self.fold {
            class.case_fold_simple();
        }
        class.union(&self.named);
        if negated {
            class.negate();
        }
        class
    }
}

fn ascii(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(low, high)| ClassUnicodeRange::new(low, high)))
}

/// The class of `\d`, `\s` or `\w` by its lower-case letter. ASCII only; `\s` lacks the vertical
/// tab.
pub(super) fn perl(letter: u8) -> Option<ClassUnicode> {
    match letter {
        b'd' => posix("digit"),
        b's' => Some(ascii(&[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')])),
        b'w' => posix("word"),
        _ => None,
    }
}

/// The class of `[:name:]`.
pub(super) fn posix(name: &str) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(ascii(ranges))
}

/// The class of `\p{name}`: a category, a script, `Any`, `Assigned` or `ASCII`. Case, underscores,
/// hyphens and blanks in the name do not count.
pub(super) fn unicode(name: &str) -> Option<ClassUnicode> {
    let same = |known: &str| loose(known).eq(loose(name));
    if name.is_empty() {
        return None;
    }
    if same("Any") {
        return Some(ascii(&[('\0', char::MAX)]));
    }
    if same("ASCII") {
        return posix("ascii");
    }
    if same("Assigned") {
        let mut class = table("gc=Cn")?;
        class.negate();
        return Some(class);
    }
    if same("Cs") || same("Surrogate") {
        return Some(ClassUnicode::empty());
    }
    let category = CATEGORIES.split_whitespace().find(|names| names.split(':').any(same));
    if let Some(short) = category.and_then(|names| names.split(':').next()) {
        return table(&format!("gc={short}"));
    }
    let script = SCRIPTS.split_whitespace().find(|known| same(known))?;
    table(&format!("sc={script}"))
}

fn loose(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase())
}

/// The code points of a Unicode property, from the tables of `regex-syntax`.
fn table(property: &str) -> Option<ClassUnicode> {
    let hir = regex_syntax::parse(&format!(r"\p{{{property}}}")).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(ClassUnicode::new(text.chars().map(|c| ClassUnicodeRange::new(c, c))))
        }
        _ => None,
    }
}
