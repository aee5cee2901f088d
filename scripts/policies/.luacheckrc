-- Generated from the tables of package policies by make generate; do not edit.
stds.epu = {
  read_globals = {
    "_VERSION",
    "assert",
    cron = { fields = { "check", "next", "prev" } },
    "error",
    "getmetatable",
    "ipairs",
    math = { fields = { "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp", "huge", "ldexp", "log", "log10", "max", "min", "mod", "modf", "pi", "pow", "rad", "random", "sin", "sinh", "sqrt", "tan", "tanh" } },
    "next",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawset",
    "require",
    "select",
    "setmetatable",
    string = { fields = { "byte", "char", "format", "len", "lower", "rep", "reverse", "sub", "upper" } },
    table = { fields = { "concat", "getn", "insert", "maxn", "remove", "sort" } },
    text = { fields = { "contains", "find", "gsub", "match", "split" } },
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
  },
}
stds.epu_test = { read_globals = { "test" } }
std = "epu"
unused_args = false
max_line_length = false
exclude_files = { "*.d.lua" }
files["*_test.lua"] = { std = "epu+epu_test" }
