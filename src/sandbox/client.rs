//! A connection as the cluster knows it: who is at its other end.

/// Who somebody is that has not said.
const ANONYMOUS: &str = "User:ANONYMOUS";

/// A connection. Its requests are handled one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Who it is, such as `User:alice`.
    pub principal: String,
    /// The address it comes from.
    pub host: String,
    /// How far it has come with telling who it is.
    pub(super) sasl: Sasl,
}

/// How far a connection has come with SASL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sasl {
    /// It has said nothing.
    #[default]
    Begun,
    /// It has chosen a mechanism; its token comes in a SaslAuthenticate request.
    Chosen,
    /// The same; its token comes as a bare frame (handshakes of version 0).
    ChosenBare,
    /// It is who it says.
    Done,
    /// It is not, and will hear nothing more.
    Refused,
}

impl Client {
    /// A connection of somebody who is known.
    #[must_use]
    pub fn new(principal: &str) -> Self {
        Self {
            principal: principal.to_owned(),
            host: "127.0.0.1".to_owned(),
            sasl: Sasl::default(),
        }
    }

    /// Ends SASL: with a principal it is done, without one it has failed.
    ///
    /// Who has said so before is left alone.
    pub(super) fn identify(&mut self, principal: Option<String>) {
        match principal {
            Some(principal) => {
                self.principal = principal;
                self.sasl = Sasl::Done;
            }
            None if self.sasl == Sasl::Chosen => self.sasl = Sasl::Refused,
            None => {}
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(ANONYMOUS)
    }
}

/// Somebody who may connect with SASL PLAIN.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name, without `User:`.
    pub name: String,
    /// The password; it is never shown.
    pub password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
