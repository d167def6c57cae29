//! Manifests in every style, as decisions say.

/// A value to be written in some style.
enum Value {
    /// Scalars as they are written.
    Scalar(&'static str),
    Mapping(Vec<(&'static str, Self)>),
    Sequence(Vec<Self>),
}

/// Decisions, one after the other; zeros when they have run out.
struct Choices<'c>(std::slice::Iter<'c, u8>);

impl Choices<'_> {
    fn below(&mut self, bound: u8) -> u8 {
        self.0.next().copied().unwrap_or(0) % bound
    }

    fn of<T: Copy>(&mut self, several: &[T]) -> T {
        several[usize::from(self.below(u8::try_from(several.len()).unwrap()))]
    }

    fn rarely(&mut self) -> bool {
        self.below(8) == 7
    }
}

const SCALARS: [&str; 12] = [
    "web",
    "\"quoted: # text\"",
    "'it''s'",
    "1",
    "~",
    "null",
    "",
    "größe",
    "\"a\\u00e9\\\"\"",
    "a b  c",
    "true",
    "\"\"",
];
/// What a flow mapping and JSON can hold as well.
const JSON_SCALARS: [&str; 6] = ["\"web\"", "1", "null", "true", "\"größe\\n\\\"{[,:# \"", "\"\""];

fn others(choices: &mut Choices<'_>, scalars: &[&'static str]) -> Value {
    let keys = ["app", "example.com/x", "name", "b"];
    let many = choices.below(4);
    Value::Mapping(
        keys.into_iter().take(many.into()).map(|key| (key, Value::Scalar(choices.of(scalars)))).collect(),
    )
}

/// Metadata as it may be: not there, null, or with some things in it.
fn metadata(choices: &mut Choices<'_>, scalars: &[&'static str]) -> Option<Value> {
    let nulls: &[&str] = if scalars.len() == JSON_SCALARS.len() { &["null"] } else { &["", "~", "null"] };
    match choices.below(6) {
        0 => return None,
        1 => return Some(Value::Scalar(choices.of(nulls))),
        _ => {}
    }
    let mut entries = Vec::new();
    if choices.below(2) == 1 {
        entries.push(("name", Value::Scalar("\"x\"")));
    }
    match choices.below(4) {
        0 => {}
        1 => entries.push(("annotations", Value::Scalar(choices.of(nulls)))),
        _ => entries.push(("annotations", others(choices, scalars))),
    }
    if choices.below(2) == 1 {
        entries.push(("labels", others(choices, scalars)));
    }
    if choices.below(2) == 1 {
        entries.reverse();
    }
    Some(Value::Mapping(entries))
}

fn object(choices: &mut Choices<'_>, scalars: &[&'static str]) -> Value {
    let kind = choices.of(&["Deployment", "Pod", "CronJob", "Service", "ConfigMap", "Namespace"]);
    let mut spec = vec![("x", Value::Sequence(vec![others(choices, scalars), Value::Scalar("\"y\"")]))];
    let own = metadata(choices, scalars);
    let template = |choices: &mut Choices<'_>| {
        let mut entries = vec![("spec", others(choices, scalars))];
        entries.extend(metadata(choices, scalars).map(|metadata| ("metadata", metadata)));
        if choices.below(2) == 1 {
            entries.reverse();
        }
        Value::Mapping(entries)
    };
    match kind {
        "Deployment" => spec.push(("template", template(choices))),
        "CronJob" => {
            let inner = Value::Mapping(vec![("template", template(choices))]);
            spec.push(("jobTemplate", Value::Mapping(vec![("spec", inner)])));
        }
        _ => {}
    }
    let quoted = match kind {
        "Deployment" => "\"Deployment\"",
        "Pod" => "\"Pod\"",
        "CronJob" => "\"CronJob\"",
        "Service" => "\"Service\"",
        "Namespace" => "\"Namespace\"",
        _ => "\"ConfigMap\"",
    };
    let kind = if scalars.len() == JSON_SCALARS.len() || choices.rarely() { quoted } else { kind };
    let mut entries = vec![("kind", Value::Scalar(kind))];
    entries.extend(own.map(|metadata| ("metadata", metadata)));
    entries.push(("spec", Value::Mapping(spec)));
    let turn = usize::from(choices.below(3)) % entries.len();
    entries.rotate_left(turn);
    Value::Mapping(entries)
}

struct Writer<'c, 'b> {
    choices: &'c mut Choices<'b>,
    out: String,
    step: usize,
}

impl Writer<'_, '_> {
    fn spaces(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(' ', count));
    }

    fn comment(&mut self) {
        if self.choices.rarely() {
            let comment = self.choices.of(&[" # c", "   # annotations: {", " #"]);
            self.out.push_str(comment);
        }
    }

    fn end_line(&mut self) {
        self.comment();
        self.out.push('\n');
    }

    /// Lines that say nothing.
    fn nothing(&mut self, indent: usize) {
        if self.choices.rarely() {
            let indent = indent * usize::from(self.choices.below(2));
            self.spaces(indent);
            self.out.push_str("# kind: Pod\n");
        }
        if self.choices.rarely() {
            self.out.push('\n');
        }
    }

    fn key(&mut self, key: &str) {
        let quote = self.choices.of(&["", "", "", "\"", "'"]);
        self.out.extend([quote, key, quote, ":"]);
    }

    /// A value behind a key or a dash, to the end of its line or lines.
    fn value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Scalar("") => self.end_line(),
            Value::Scalar(scalar) => {
                self.out.extend([" ", scalar]);
                self.end_line();
            }
            Value::Mapping(entries) if !entries.is_empty() && self.choices.below(4) != 3 => {
                self.end_line();
                self.mapping(entries, indent + self.step);
            }
            Value::Sequence(items) if !items.is_empty() && self.choices.below(4) != 3 => {
                self.end_line();
                let indent = if self.choices.below(2) == 1 { indent } else { indent + self.step };
                for item in items {
                    self.nothing(indent);
                    self.spaces(indent);
                    self.out.push('-');
                    match item {
                        Value::Mapping(entries) if !entries.is_empty() => {
                            self.out.push(' ');
                            self.mapping_from(entries, indent + 2, true);
                        }
                        other @ (Value::Scalar(_) | Value::Mapping(_) | Value::Sequence(_)) => {
                            self.value(other, indent);
                        }
                    }
                }
            }
            flow @ (Value::Mapping(_) | Value::Sequence(_)) => {
                self.out.push(' ');
                let is_long = self.choices.below(2) == 1;
                self.flow(flow, indent + self.step, is_long);
                self.end_line();
            }
        }
    }

    fn mapping(&mut self, entries: &[(&str, Value)], indent: usize) {
        self.mapping_from(entries, indent, false);
    }

    fn mapping_from(&mut self, entries: &[(&str, Value)], indent: usize, mut is_begun: bool) {
        for (key, value) in entries {
            if !std::mem::take(&mut is_begun) {
                self.nothing(indent);
                self.spaces(indent);
            }
            self.key(key);
            self.value(value, indent);
        }
    }

    /// In braces; `is_long` with a line for each entry.
    fn flow(&mut self, value: &Value, indent: usize, is_long: bool) {
        let inner = indent + self.step;
        let line = |writer: &mut Self, indent: usize| {
            if is_long {
                writer.end_line();
                writer.spaces(indent);
            }
        };
        let (open, close, count) = match value {
            // In braces, it is `null` that comes back for every null.
            Value::Scalar("" | "~") => return self.out.push_str("null"),
            Value::Scalar(scalar) => return self.out.push_str(scalar),
            Value::Mapping(entries) => ("{", "}", entries.len()),
            Value::Sequence(items) => ("[", "]", items.len()),
        };
        let pad = self.choices.of(&["", "", " "]);
        self.out.extend([open, pad]);
        for at in 0..count {
            line(self, inner);
            match value {
                Value::Mapping(entries) => {
                    self.key(entries[at].0);
                    self.out.push(' ');
                    self.flow(&entries[at].1, inner, is_long);
                }
                Value::Sequence(items) => self.flow(&items[at], inner, is_long),
                Value::Scalar(_) => {}
            }
            if at + 1 < count {
                let comma = if is_long { "," } else { self.choices.of(&[", ", ",  "]) };
                self.out.push_str(comma);
            }
        }
        if count > 0 {
            line(self, indent);
        }
        self.out.extend([pad, close]);
    }
}

/// A stream of documents in YAML.
pub(super) fn yaml(choices: &[u8]) -> String {
    let mut choices = Choices(choices.iter());
    let step = choices.of(&[2, 2, 4, 1, 3]);
    let objects: Vec<_> = (0..=choices.below(3)).map(|_| object(&mut choices, &SCALARS)).collect();
    let is_list = choices.below(3) == 2;
    let ending = choices.of(&["\n", "\r\n"]);
    let is_cut = choices.rarely();
    let mut writer = Writer { choices: &mut choices, out: String::new(), step };
    if is_list {
        writer.mapping(&[("kind", Value::Scalar("List")), ("items", Value::Sequence(objects))], 0);
    } else {
        for object in &objects {
            writer.nothing(0);
            writer.out.push_str("---");
            writer.end_line();
            match object {
                Value::Mapping(entries) if writer.choices.below(8) != 7 => writer.mapping(entries, 0),
                flow @ (Value::Scalar(_) | Value::Mapping(_) | Value::Sequence(_)) => {
                    writer.flow(flow, 0, false);
                    writer.end_line();
                }
            }
        }
    }
    let text = writer.out.replace('\n', ending);
    if is_cut { text.trim_end().to_owned() } else { text }
}

/// A document, or several without a separator, in JSON.
pub(super) fn json(choices: &[u8]) -> String {
    let mut choices = Choices(choices.iter());
    let indent = choices.of(&["  ", "    ", "\t", ""]);
    let is_spaced = choices.below(2) == 1;
    let mut text = String::new();
    for _ in 0..=choices.below(2) {
        let object = object(&mut choices, &JSON_SCALARS);
        write_json(&object, indent, is_spaced, 0, &mut text);
        text.push('\n');
    }
    text
}

fn write_json(value: &Value, indent: &str, is_spaced: bool, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        if !indent.is_empty() {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    };
    let (open, close, count) = match value {
        Value::Scalar(scalar) => return out.push_str(scalar),
        Value::Mapping(entries) => ("{", "}", entries.len()),
        Value::Sequence(items) => ("[", "]", items.len()),
    };
    out.push_str(open);
    for at in 0..count {
        line(depth + 1, out);
        let inner = match value {
            Value::Mapping(entries) => {
                out.extend(["\"", entries[at].0, "\":", if is_spaced { " " } else { "" }]);
                &entries[at].1
            }
            Value::Sequence(items) => &items[at],
            Value::Scalar(_) => continue,
        };
        write_json(inner, indent, is_spaced, depth + 1, out);
        if at + 1 < count {
            out.push_str(if indent.is_empty() && is_spaced { ", " } else { "," });
        }
    }
    if count > 0 {
        line(depth, out);
    }
    out.push_str(close);
}
