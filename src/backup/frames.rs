//! What a backup holds, in CBOR (RFC 8949).

use super::stream::Opening;
use crate::error::Fault;
use crate::store::transfer::{Row, Summary};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

#[derive(Serialize, Deserialize)]
pub(super) enum Frame {
    /// Some rows of one table.
    Rows { table: String, columns: Vec<String>, rows: Vec<Row> },
    /// There are no more; these are all tables.
    End(Vec<Summary>),
}

impl Frame {
    pub(super) fn write(&self, out: &mut impl Write) -> Result<(), Fault> {
        ciborium::into_writer(self, out)
            .map_err(|error| Fault::gateway(format!("the backup cannot be written: {error}")))
    }

    pub(super) fn read<R: Read>(input: &mut Opening<R>) -> Result<Self, Fault> {
        ciborium::from_reader(&mut *input).map_err(|_| input.fault())
    }
}
