//! Finding brokers: bootstrap, metadata, and addresses that lead nowhere.

use std::sync::Arc;

use super::*;
use crate::cluster::{DisconnectCause, Lane, Topics};

#[tokio::test]
async fn callers_at_the_same_time_share_one_metadata_request() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let (first, second, conversation) = tokio::join!(
        cluster.refresh_metadata(Topics::named(["a", "b"])),
        cluster.refresh_metadata(Topics::named(["b"])),
        async {
            let mut conversation = broker.accept_and_shake_hands().await;
            conversation
                .tell_brokers("id", &[broker.advertised(1)])
                .await;
            conversation
        }
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&first, &cluster.metadata()));
    assert!(cluster.metadata_due_at().is_some());
    drop(cluster);
    conversation.expect_end().await;
}

#[tokio::test]
async fn a_refresh_whose_caller_went_away_still_serves_the_others() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let leaver = {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.refresh_metadata(Topics::All).await })
    };
    let mut conversation = broker.accept_and_shake_hands().await;
    leaver.abort();
    assert!(leaver.await.is_err());
    let brokers = [broker.advertised(1)];
    let (outcome, ()) = tokio::join!(
        cluster.refresh_metadata(Topics::none()),
        conversation.tell_brokers("id", &brokers)
    );
    assert_eq!(outcome.unwrap().brokers().len(), 1);
}

#[tokio::test]
async fn another_cluster_behind_the_same_address_is_reported_and_not_believed() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let serve = async {
        let mut first = broker.accept_and_shake_hands().await;
        first.tell_brokers("one", &[broker.advertised(1)]).await;
        let mut second = broker.accept_and_shake_hands().await;
        second.tell_brokers("two", &[broker.advertised(2)]).await;
    };
    let refresh = async {
        let first = cluster.refresh_metadata(Topics::All).await;
        (first, cluster.refresh_metadata(Topics::All).await)
    };
    let ((first, second), ()) = tokio::join!(refresh, serve);
    assert!(matches!(
        second,
        Err(RequestError::WrongCluster { expected, found, .. })
            if &*expected == "one" && &*found == "two"
    ));
    assert!(Arc::ptr_eq(&first.unwrap(), &cluster.metadata()));
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let dead = dead_address().await;
    let named = Arc::clone(&cluster.0.bootstrap[0]);
    let addresses = [dead, dead, broker.address];
    let (connection, _conversation) = tokio::join!(
        cluster.0.peers.dialer().dial_addresses(&named, &addresses),
        broker.accept_and_shake_hands()
    );
    assert!(connection.unwrap().is_open());

    let outcome = cluster
        .0
        .peers
        .dialer()
        .dial_addresses(&named, &[dead, dead])
        .await;
    let text = text(outcome);
    assert!(
        text.contains(&format!("cannot connect to {dead}")),
        "{text}"
    );
}

#[tokio::test]
async fn one_bootstrap_server_that_answers_is_enough() {
    for _ in 0..8 {
        let broker = FakeBroker::start().await;
        let dead = dead_address().await;
        let dead = (dead.ip().to_string(), dead.port());
        let cluster = cluster(vec![dead.clone(), broker.bootstrap(), dead]);
        let (connection, _conversation) =
            tokio::join!(cluster.any_broker(), broker.accept_and_shake_hands());
        connection.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_that_is_down_is_an_error_and_comes_back_without_a_restart() {
    let dead = dead_address().await;
    let cluster = cluster(vec![(dead.ip().to_string(), dead.port())]);
    let error = cluster.refresh_metadata(Topics::All).await.unwrap_err();
    assert!(matches!(
        &error,
        RequestError::Disconnected { cause: DisconnectCause::Connect { source, .. }, .. }
            if source.kind() == std::io::ErrorKind::ConnectionRefused
    ));

    let listener = TcpListener::bind(dead).await.unwrap();
    let broker = FakeBroker {
        listener,
        address: dead,
    };
    // It is too early for another attempt: the same error, and no connection.
    let again = cluster.any_broker().await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string());

    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(61)).await;
    tokio::time::resume();
    let (connection, _conversation) =
        tokio::join!(cluster.any_broker(), broker.accept_and_shake_hands());
    connection.unwrap();
}

#[tokio::test]
async fn no_bootstrap_server_at_all_is_an_error_in_words() {
    let text = text(cluster(vec![]).any_broker().await);
    assert_eq!(
        text,
        "connection to any broker of cluster A: no bootstrap server is given"
    );
}

#[tokio::test]
async fn an_advertised_address_that_leads_nowhere_is_named_with_where_to_look() {
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![broker.bootstrap()]);
    let dead = dead_address().await;
    let (metadata, _conversation) = tokio::join!(cluster.refresh_metadata(Topics::All), async {
        let mut conversation = broker.accept_and_shake_hands().await;
        conversation.tell_brokers("id", &[(7, dead)]).await;
        conversation
    });
    metadata.unwrap();
    let text = text(cluster.broker(7, Lane::Fetch(0)).await);
    let expected = format!(
        "connection to broker 7 ({dead}) of cluster A: {dead}, where the broker is said to listen, \
         has not been reachable from here so far"
    );
    assert!(text.starts_with(&expected), "{text}");
    let both = "the broker is down, or its advertised.listeners names an address that leads nowhere \
                from here";
    assert!(text.ends_with(both), "{text}");

    // The cluster still answers: metadata keeps coming through the bootstrap server.
    assert!(cluster.any_broker().await.is_ok());
    assert_eq!(
        cluster
            .broker(8, Lane::Control)
            .await
            .unwrap_err()
            .to_string(),
        "connection to broker 8 of cluster A: the cluster has no such broker at present"
    );
}

#[tokio::test]
async fn when_all_known_brokers_are_gone_the_bootstrap_servers_are_asked_again() {
    let bootstrap = FakeBroker::start().await;
    let old = FakeBroker::start().await;
    let new = FakeBroker::start().await;
    let cluster = cluster(vec![bootstrap.bootstrap()]);
    let (first, ()) = tokio::join!(cluster.refresh_metadata(Topics::All), async {
        let mut conversation = bootstrap.accept_and_shake_hands().await;
        conversation.tell_brokers("id", &[old.advertised(1)]).await;
    });
    first.unwrap();
    let (second, ()) = tokio::join!(cluster.refresh_metadata(Topics::All), async {
        let mut conversation = old.accept_and_shake_hands().await;
        conversation.tell_brokers("id", &[old.advertised(1)]).await;
        drop(conversation);
    });
    second.unwrap();
    drop(old);
    cluster.broker(1, Lane::Control).await.unwrap_err();

    let (third, _conversation) = tokio::join!(cluster.refresh_metadata(Topics::All), async {
        let mut conversation = bootstrap.accept_and_shake_hands().await;
        conversation.tell_brokers("id", &[new.advertised(2)]).await;
        conversation
    });
    let nodes: Vec<_> = third.unwrap().brokers().keys().copied().collect();
    assert_eq!(nodes, [2]);
}

#[tokio::test]
async fn a_broker_can_send_its_clients_back_to_the_bootstrap_servers() {
    let bootstrap = FakeBroker::start().await;
    let broker = FakeBroker::start().await;
    let cluster = cluster(vec![bootstrap.bootstrap()]);
    let serve = async {
        let mut first = bootstrap.accept_and_shake_hands().await;
        first.tell_brokers("id", &[broker.advertised(1)]).await;
        let mut known = broker.accept().await;
        let incoming = known.request().await;
        let mut response = offer();
        response.api_keys.to_mut()[1].max_version = 13;
        known
            .answer::<ApiVersionsRequest<'_>>(&incoming, &response)
            .await;
        let incoming = known.request().await;
        let response = MetadataResponse {
            error_code: ErrorCode::REBOOTSTRAP_REQUIRED,
            ..MetadataResponse::default()
        };
        known
            .answer::<MetadataRequest<'_>>(&incoming, &response)
            .await;
        let mut again = bootstrap.accept_and_shake_hands().await;
        again.tell_brokers("id", &[broker.advertised(2)]).await;
        known.expect_end().await;
    };
    let refresh = async {
        cluster.refresh_metadata(Topics::All).await.unwrap();
        let refused = cluster.refresh_metadata(Topics::All).await.unwrap_err();
        (refused, cluster.refresh_metadata(Topics::All).await)
    };
    let ((refused, last), ()) = tokio::join!(refresh, serve);
    assert!(
        refused
            .to_string()
            .ends_with("answered REBOOTSTRAP_REQUIRED"),
        "{refused}"
    );
    assert!(last.unwrap().brokers().contains_key(&2));
}

#[tokio::test]
async fn a_broker_that_moved_is_reached_at_its_new_address() {
    let old = FakeBroker::start().await;
    let new = FakeBroker::start().await;
    let cluster = cluster(vec![old.bootstrap()]);
    let tell = async {
        let mut bootstrap = old.accept_and_shake_hands().await;
        bootstrap.tell_brokers("id", &[old.advertised(1)]).await;
        let mut control = old.accept_and_shake_hands().await;
        control.tell_brokers("id", &[new.advertised(1)]).await;
        (control, new.accept_and_shake_hands().await)
    };
    let follow = async {
        cluster.refresh_metadata(Topics::All).await?;
        cluster.broker(1, Lane::Control).await?;
        cluster.refresh_metadata(Topics::All).await?;
        cluster.broker(1, Lane::Control).await
    };
    let (connection, _ends) = tokio::join!(follow, tell);
    assert_eq!(connection.unwrap().broker().port, new.address.port());
}
