//! What an oracle makes of a request when a fault is played: what is applied, what is answered, and how the bytes go.
//!
//! Not responsible for which fault is played (fault.rs) nor for what is remembered (journal.rs).

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;
use super::journal::{Journal, Made};
use super::oracle::{Decision, Shared};
use super::wire::{Answer, Wire};

/// Applies what the fault lets through; the answer, and whether it is a receipt.
pub(super) fn answer(journal: &mut Journal, number: usize, fault: &Fault) -> (Answer, bool) {
    match fault {
        // Applied when it is released.
        Fault::Hold | Fault::ApplyLate => (Answer::new(500, "text/plain", ""), true),
        Fault::Applied(answered) | Fault::Receipt(answered) => {
            let usual = applied(journal, number, answered).0;
            let is_usual = matches!(**answered, Fault::AnswerWith(_));
            let answer = if is_usual { usual } else { refusal(journal, number, answered) };
            (answer, matches!(fault, Fault::Receipt(_)))
        }
        Fault::None
        | Fault::ApplyThenDrop
        | Fault::ApplyThenCut(_)
        | Fault::ApplyThenReset
        | Fault::AnswerThenReset
        | Fault::AnswerTwice
        | Fault::AnswerWith(_)
        | Fault::CloseIdle(_)
        | Fault::WrongCount
        | Fault::Repeated
        | Fault::RejectKeys(..)
        | Fault::BusyKeys(_)
        | Fault::SlowAnswer(_)
        | Fault::SlowPieces(..)
        | Fault::ApplyThenHold => applied(journal, number, fault),
        _ => (refusal(journal, number, fault), false),
    }
}

/// What is answered where it is no receipt.
fn refusal(journal: &Journal, number: usize, fault: &Fault) -> Answer {
    match fault {
        Fault::Status { code, headers, body } => {
            let mut answer = Answer::new(*code, "application/json", body.clone());
            answer.headers.extend(headers.iter().cloned());
            answer
        }
        Fault::Bytes { code, headers, body } => {
            Answer { status: *code, headers: headers.clone(), body: body.0.clone() }
        }
        Fault::Raw(bytes) => Answer { status: 0, headers: Vec::new(), body: bytes.0.clone() },
        Fault::Redirect(code, location) => {
            let mut answer = Answer::new(*code, "text/plain", "elsewhere");
            answer.headers.push(("location".to_owned(), location.clone()));
            answer
        }
        Fault::Echo(code) => {
            let sent = &journal.requests[number - 1].sent;
            let credentials = sent.header("authorization").unwrap_or_default();
            let message = format!("cannot take {} of {credentials}", sent.beginning);
            Answer::json(*code, &json!({ "message": message }))
        }
        Fault::Html200 => Answer::new(200, "text/html", "<html><body>Please sign in</body></html>"),
        Fault::Json200(body) => Answer::new(200, "application/json", body.clone()),
        Fault::Poison400(_) => Answer::json(400, &json!({ "error": "the request is malformed" })),
        Fault::Poison(code, _) => Answer::json(*code, &json!({ "error": "malformed" })),
        Fault::TooLarge413(_) => Answer::json(413, &json!({ "error": "too large" })),
        _ => Answer::new(500, "text/plain", ""),
    }
}

fn applied(journal: &mut Journal, number: usize, fault: &Fault) -> (Answer, bool) {
    let (refused, code) = match fault {
        Fault::RejectKeys(keys, code) => (keys.clone(), code.as_str()),
        _ => (BTreeSet::new(), ""),
    };
    if let Fault::BusyKeys(keys) = fault {
        journal.apply_but(number, keys, Made::NotApplied);
    } else {
        journal.apply(number, &refused);
    }
    let result = |made: &Made| match made {
        Made::NotApplied => json!({ "status": "busy" }),
        Made::Rejected => {
            json!({ "status": "rejected", "error": { "code": code, "message": "refused by the oracle" } })
        }
        _ => json!({ "status": "ok" }),
    };
    let mut results: Vec<Value> = journal.requests[number - 1].made.iter().map(result).collect();
    match fault {
        Fault::WrongCount => drop(results.pop()),
        Fault::Repeated => results.extend(results.first().cloned()),
        _ => {}
    }
    let status = if let Fault::AnswerWith(status) = fault { *status } else { 200 };
    let is_receipt = !matches!(fault, Fault::WrongCount | Fault::Repeated);
    (Answer::json(status, &json!({ "results": results })), is_receipt)
}

/// Ends a connection within a request's body.
pub(super) async fn play_within_body(shared: &Shared, mut wire: Wire, number: usize, fault: Fault) {
    if let Fault::ResetWithinBody(_) = fault {
        return wire.reset();
    }
    if let Fault::EarlyAnswer(code, _) = fault {
        let mut answer = Answer::json(code, &json!({ "error": "I have seen enough" }));
        answer.headers.push(("connection".to_owned(), "close".to_owned()));
        shared.note(|journal| journal.answered(number, code, false));
        // A client that is gone has nothing to hear.
        let _ = wire.write(&answer.bytes()).await;
    }
    if !matches!(fault, Fault::SilentWithinBody(_)) {
        wire.half_close().await;
    }
    wire.closed().await;
}

/// Answers as decided; gives the connection back if it lives on.
pub(super) async fn play(
    shared: &Shared,
    mut wire: Wire,
    decision: Decision,
) -> io::Result<Option<Wire>> {
    let Decision { number, ref fault, .. } = decision;
    match fault {
        Fault::ApplyThenDrop | Fault::DropBeforeApply => {
            shared.note(|journal| journal.close(number));
            Ok(None)
        }
        Fault::HalfClose | Fault::HalfCloseWithinBody(_) => {
            shared.note(|journal| journal.close(number));
            wire.half_close().await;
            wire.closed().await;
            Ok(None)
        }
        Fault::Endless { is_head, piece, pause } => {
            let _ = endless(&mut wire, *is_head, *piece, *pause).await;
            shared.note(|journal| {
                journal.close_as_gone(number);
                journal.requests[number - 1].status = Some(200);
            });
            Ok(None)
        }
        Fault::ApplyThenReset | Fault::ResetWithinBody(_) => {
            shared.note(|journal| journal.close(number));
            wire.reset();
            Ok(None)
        }
        Fault::ApplyThenCut(bytes) => {
            let whole = decision.answer.bytes();
            shared.note(|journal| {
                journal.close(number);
                journal.requests[number - 1].status = Some(decision.answer.status);
            });
            wire.write(&whole[..(*bytes).min(whole.len().saturating_sub(1))]).await?;
            Ok(None)
        }
        Fault::AnswerThenReset => {
            write(shared, &mut wire, &decision, &decision.answer.bytes()).await?;
            wire.reset();
            Ok(None)
        }
        _ if decision.answer.status == 0 => {
            write(shared, &mut wire, &decision, &decision.answer.bytes()).await.map(|()| None)
        }
        Fault::AnswerTwice => {
            let answer = decision.answer.bytes();
            write(shared, &mut wire, &decision, &answer.repeat(2)).await.map(|()| Some(wire))
        }
        Fault::SlowAnswer(pause) => {
            let is_gone = tokio::select! {
                () = wire.closed() => true,
                () = tokio::time::sleep(*pause) => false,
            };
            after_waiting(shared, wire, &decision, is_gone).await
        }
        Fault::SlowPieces(pieces, pause) => {
            let bytes = decision.answer.bytes();
            let (first, last) = bytes.split_at(bytes.len() - bytes.len() / (*pieces).max(1));
            if wire.drip(first, pieces.saturating_sub(1), *pause).await.is_err() {
                shared.note(|journal| journal.close_as_gone(number));
                return Ok(None);
            }
            write(shared, &mut wire, &decision, last).await.map(|()| Some(wire))
        }
        Fault::Hold | Fault::ApplyThenHold | Fault::ApplyLate => {
            let mut released = shared.released.subscribe();
            let is_gone = tokio::select! {
                () = wire.closed() => true,
                _ = released.wait_for(|releases| *releases > decision.releases) => false,
            };
            let mut decision = decision;
            if is_gone && decision.fault == Fault::ApplyLate {
                shared.note(|journal| journal.put_off(number));
                return Ok(None);
            }
            if !is_gone && matches!(decision.fault, Fault::Hold | Fault::ApplyLate) {
                let (answer, is_receipt) =
                    shared.note(|journal| applied(journal, number, &Fault::None));
                decision = Decision { answer, is_receipt, ..decision };
            }
            after_waiting(shared, wire, &decision, is_gone).await
        }
        _ => {
            write(shared, &mut wire, &decision, &decision.answer.bytes()).await.map(|()| Some(wire))
        }
    }
}

async fn after_waiting(
    shared: &Shared,
    mut wire: Wire,
    decision: &Decision,
    is_gone: bool,
) -> io::Result<Option<Wire>> {
    if is_gone {
        shared.note(|journal| journal.close_as_gone(decision.number));
        return Ok(None);
    }
    write(shared, &mut wire, decision, &decision.answer.bytes()).await.map(|()| Some(wire))
}

/// Writes the last bytes of the answer. It is written down first: whoever has read the answer finds it in the journal.
async fn write(
    shared: &Shared,
    wire: &mut Wire,
    decision: &Decision,
    last: &[u8],
) -> io::Result<()> {
    let Decision { number, answer, is_receipt, .. } = decision;
    shared.note(|journal| journal.answered(*number, answer.status, *is_receipt));
    let written = wire.write(last).await;
    if written.is_err() {
        shared.note(|journal| journal.requests[*number - 1].is_answered_whole = false);
    }
    written
}

/// Writes until the client is gone; so much at most, that a client without a limit does not take the machine down.
async fn endless(wire: &mut Wire, is_head: bool, piece: usize, pause: Duration) -> io::Result<()> {
    const MOST: usize = 1 << 27;
    let head = "HTTP/1.1 200 Played\r\ncontent-type: application/json\r\n";
    wire.write(head.as_bytes()).await?;
    let piece = if is_head {
        format!("x-more: {}\r\n", "a".repeat(piece))
    } else {
        wire.write(b"transfer-encoding: chunked\r\n\r\n").await?;
        format!("{piece:x}\r\n{}\r\n", " ".repeat(piece))
    };
    for _ in 0..MOST / piece.len() {
        wire.write(piece.as_bytes()).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}
