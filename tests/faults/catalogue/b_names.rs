//! B. Destination: a name that is not found, is found slowly, or is another address each time (B17).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Scenario;
use super::b_wire::changed;
use crate::support::case::Case;
use crate::support::fault::Fault;
use crate::support::front::{Does, Front};
use crate::support::names::{self, NameServer, Says};
use crate::support::oracle::Oracle;
use crate::support::people::people;
use crate::support::workspace::Setup;

pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("B17", "a name that is not found leaves nothing in doubt", not_found)
        .needing(names::can_be_asked),
    Scenario::new("B17", "a slow name server is waited for, and a silent one given up", slow)
        .needing(names::can_be_asked),
    Scenario::new("B17", "a name that flips between addresses loses nothing", flips)
        .needing(names::can_be_asked),
];

const HOST: &str = "crm.kit.example";
/// Where the front does not listen.
const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A case whose destination is found by name, from a name server of its own.
fn named(scenario: &Scenario, setup: Setup) -> (Case, Front, NameServer) {
    let oracle = Oracle::start(&["id"]);
    let front = Front::start(oracle.address());
    let setup = Setup { under: names::under(), ..setup };
    let case = Case::at(&scenario.replay(), oracle, front.url_of("http", HOST), setup);
    let server = NameServer::start(Says::Addresses(vec![HERE]));
    server.serve(&case.workspace);
    (case, front, server)
}

fn not_found(scenario: &Scenario) {
    let (mut case, front, server) = named(scenario, Setup { attempts: 2, ..Setup::default() });
    case.write(&people(1..=20));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 20)]);
    case.write(&changed(20));
    let connections = front.connections();
    for says in [Says::NoSuchName, Says::Failed, Says::Addresses(Vec::new())] {
        case.say(format!("the name server says {says:?}"));
        server.says(says);
        let asked = server.asked();
        let report = case.sync(&[]).expect(1, "partial", &[("delivered", 0), ("unknown", 0)]);
        let words = ["`crm`", HOST, "`dns`", "the host's name is not found"];
        let remedy = "check the host in `base_url`";
        for said in words.into_iter().chain([remedy]) {
            assert!(report.word("error").contains(said), "`{said}`: {report:#?}");
        }
        case.run(&["runs", "people"]).expect_code(0).expect_printed(&words);
        assert!(server.asked() > asked, "nobody asked");
    }
    assert_eq!(front.connections(), connections, "{}", case.print());
    server.says(Says::Addresses(vec![HERE]));
    case.judge();
}

fn slow(scenario: &Scenario) {
    let setup = Setup { attempts: 2, http: "connect_timeout: 1s, ", ..Setup::default() };
    let (mut case, front, server) = named(scenario, setup);
    case.write(&people(1..=20));
    server.says(Says::Slowly(Duration::from_millis(300), HERE));
    case.sync(&[]).expect(0, "succeeded", &[("delivered", 20), ("retries", 0)]);
    case.write(&changed(20));
    let connections = front.connections();
    // Two attempts at an upsert and two at a delete; the system itself would wait for 10 s each time.
    for says in [Says::Nothing, Says::Slowly(Duration::from_secs(4), HERE)] {
        case.say(format!("the name server says {says:?}"));
        server.says(says);
        let asked = server.asked();
        let report = case.sync(&[]).expect(1, "partial", &[("delivered", 0), ("unknown", 0)]);
        let took = report.finished.took;
        assert!(took < Duration::from_secs(20), "it took {took:?}\n{}", case.print());
        assert!(server.asked() > asked, "nobody asked");
    }
    assert_eq!(front.connections(), connections, "{}", case.print());
    server.says(Says::Addresses(vec![HERE]));
    case.judge();
}

/// Each request is on a connection of its own, so that the name is asked for each time.
fn flips(scenario: &Scenario) {
    let setup = Setup { batch: 4, attempts: 30, ..Setup::default() };
    let (mut case, front, server) = named(scenario, setup);
    case.oracle.always(Fault::CloseIdle(Duration::ZERO));
    case.write(&people(1..=40));
    case.say("each second answer is an address where nobody listens");
    server.says(Says::InTurn([HERE, NOBODY].into()));
    let report = case.sync(&[]).expect(0, "succeeded", &[("delivered", 40)]);
    assert!(report.count("retries") > 0, "{report:#?}");
    case.say("both addresses in one answer");
    server.says(Says::Addresses(vec![NOBODY, HERE]));
    case.write(&changed(40));
    case.sync(&[]).expect(0, "succeeded", &[("unknown", 0), ("unsent", 0)]);
    case.say("another server has the address for a while");
    case.workspace.change(|setup| setup.attempts = 2);
    case.write(&people(1..=40));
    front.does(Does::Say(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    ));
    let report = case.sync(&[]);
    assert_eq!((report.count("delivered"), report.finished.code), (0, Some(1)), "{report:#?}");
    front.does(Does::Pass);
    case.judge();
}
