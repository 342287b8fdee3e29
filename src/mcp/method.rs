//! The methods that there are: what is counted by method must not grow with what callers make up.

/// A method of MCP, of any version, that a client may send; or that there is none that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(usize);

/// Sorted. The first three are in no specification.
const LABELS: [&str; 27] = [
    "(batch)",
    "(none)",
    "(other)",
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
];

impl Method {
    /// How many there are.
    pub const COUNT: usize = LABELS.len();
    /// Several messages in one body.
    pub const BATCH: Self = Self(0);
    /// A response, a stream, or what is not JSON-RPC.
    pub const NONE: Self = Self(1);
    /// `subscriptions/listen`
    pub const LISTEN: Self = Self(19);
    /// `tools/call`
    pub const TOOLS_CALL: Self = Self(25);
    /// `tools/list`
    pub const TOOLS_LIST: Self = Self(26);

    /// The method of that name.
    pub fn of(name: &str) -> Self {
        Self(LABELS.binary_search(&name).unwrap_or(2))
    }

    /// Its name, or a word in parentheses.
    pub fn label(self) -> &'static str {
        LABELS.get(self.0).unwrap_or(&"(other)")
    }

    /// Below [`Method::COUNT`].
    pub fn index(self) -> usize {
        self.0
    }

    /// Every one, by index.
    pub fn all() -> [Self; Self::COUNT] {
        std::array::from_fn(Self)
    }
}
