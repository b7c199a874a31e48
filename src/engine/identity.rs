//! Which account a run writes to, where the connection asks for it rather than declares it.

use std::borrow::Cow;
use std::time::Instant;

use super::order::Order;
use super::prepare::Error;
use super::report::place;
use crate::destination::definition::Connection;
use crate::destination::http::{Credentials, identify};

/// The connection of an order with its account, asked for where that is not declared, and the credentials that are for it.
/// Tries again as batches do, within the connection's budget. Dropping the future ends that.
///
/// # Errors
/// The account was not learned: nothing may be sent, as it may be another one.
pub async fn identified(order: &Order) -> Result<(Cow<'_, Connection>, Credentials), Error> {
    let connection = &order.connection;
    let Some(identify) = &connection.identify else {
        return Ok((Cow::Borrowed(connection), Credentials::new(connection)));
    };
    let (begun, mut attempt) = (Instant::now(), 1);
    loop {
        let permit = order.budget.acquire(order.priority).await;
        let asked = identify::account(connection, identify).await;
        drop(permit);
        let fault = match asked {
            Ok((account, credentials)) => {
                // What the base URL is written like says nothing of an account that was asked for.
                let named =
                    Connection { account: Some(account), written: None, ..connection.clone() };
                return Ok((Cow::Owned(named), credentials));
            }
            Err(fault) => fault,
        };
        let retry = order.limits.retry;
        let delay = retry.delay(attempt, begun.elapsed(), fault.retry_after, rand::random());
        match delay.filter(|_| fault.is_passing) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => {
                return Err(Error::Unidentified {
                    place: place(order),
                    connection: connection.name.clone(),
                    code: fault.code,
                    message: fault.message,
                });
            }
        }
        attempt += 1;
    }
}
