//! The connection to the collector: one for each batch.

use std::pin::Pin;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    client::conn::http1::handshake,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::net::TcpStream;

use crate::policy::OtlpEndpoint;

/// Bytes of an answer that are read: it says how many spans were refused, and why.
const MAX_ANSWER: usize = 64 << 10;

/// Sends a request to the collector.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: OtlpEndpoint,
}

impl Client {
    pub(super) const fn new(endpoint: OtlpEndpoint) -> Self {
        Self { endpoint }
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri();
        let host = uri.authority().map(|authority| HeaderValue::from_str(authority.as_str())).transpose()?;
        if let Some(path) = uri.path_and_query().cloned() {
            *request.uri_mut() = path.into();
        }
        if let Some(host) = host {
            request.headers_mut().insert(HOST, host);
        }
        let stream = TcpStream::connect((self.endpoint.host(), self.endpoint.port())).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Takes the sender with it: without one, the connection ends after the answer.
        let answered = async move {
            let response = sender.send_request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        // What ends the connection early ends the answer as well, and is told there.
        let (answer, _ended) = tokio::join!(answered, connection);
        answer
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'sending>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sending>>
    where
        'client: 'sending,
        Self: 'sending,
    {
        Box::pin(self.send(request))
    }
}
